"""Pieces of a page that work anywhere: HTML with its own style and script, in a cell's output.

Each piece is a template ``web/NAME.html`` with a style sheet and scripts beside it. What it shows
is inside it, so it works in the built book, in Jupyter and on Colab, without a kernel and without a
network; and each template shows something sensible where scripts are off.
"""

import base64
import io
import re
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from torch import Tensor

from dsd_lib.images import to_array

_WEB = Path(__file__).parent / "web"


class Html:
    """Shows itself as HTML in a notebook and as plain text elsewhere."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


def component(
    name: str,
    text: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] | None = None,
    **values: object,
) -> Html:
    """Fill the template ``web/NAME.html``.

    Args:
        name: of the template.
        text: what the piece is, in plain text, for places without HTML.
        scripts: names of the files ``web/*.js``. The last one defines ``setUp(box)``, which is
            called with the element of the piece.
        styles: names of the files ``web/*.css``; the template's own name unless given.
        values: what the template shows. Texts are escaped.

    Returns:
        The filled piece. Its id depends on its content only, so running a notebook again gives the
        same file.
    """
    content = _templates().get_template(f"{name}.html").render(**values)
    body = _templates().get_template("component.html").render(
        name=name,
        id=f"dsd-{uuid.uuid5(uuid.NAMESPACE_OID, content).hex[:12]}",
        title=values.get("title", ""),
        content=Markup(content),
        style=Markup("".join(_file(f"{s}.css") for s in styles or (name,))),
        script=Markup("".join(_file(f"{s}.js") for s in scripts)),
    )  # fmt: skip
    return Html(body, text)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _file(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def inline(text: str) -> Markup:
    """One line of text as HTML: `` `code` ``, ``**strong**``, ``*emphasis*``, ``[link](#place)``.

    A link leads to a place on the same page.

    >>> inline("**best** at `relu5_1`, 1 < 2")
    Markup('<strong>best</strong> at <code>relu5_1</code>, 1 &lt; 2')
    >>> inline("[the rule](#the-rule)")
    Markup('<a href="#the-rule">the rule</a>')
    """
    html = str(escape(text))
    html = re.sub(r"\[([^\]]+)\]\(#([\w-]+)\)", r'<a href="#\2">\1</a>', html)
    for pattern, tag in ((r"`([^`]+)`", "code"), (r"\*\*(.+?)\*\*", "strong")):
        html = re.sub(pattern, rf"<{tag}>\1</{tag}>", html)
    return Markup(re.sub(r"\*(\S|\S.*?\S)\*", r"<em>\1</em>", html))


def data_uri(image: Tensor | np.ndarray, quality: int = 100) -> str:
    """An image as the address of an embedded WebP file.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1], or an ``(H, W, 3)`` array of bytes.
        quality: 1 to 99; 100 keeps every pixel.

    Raises:
        ValueError: ``quality`` outside 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    array = to_array(image) if isinstance(image, Tensor) else image
    options = {"lossless": True} if quality == 100 else {"quality": quality}
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="webp", method=6, **options)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def whole_zoom(zoom: int) -> int:
    """The zoom, if it is a positive whole number.

    Raises:
        ValueError: it is not.
    """
    if int(zoom) != zoom or zoom < 1:
        raise ValueError(f"zoom: expected a positive whole number, got {zoom}")
    return int(zoom)
