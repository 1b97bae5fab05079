"""A Sphinx extension: each chapter gets a box "Run this chapter", and the site carries the wheel.

The wheel is the newest one in ``dist``, where ``make wheel`` puts it. Without one the box says so.
"""

import json
import shutil
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]

BOX = """\
:::::{{admonition}} Run this chapter
:class: dropdown dsd-run

::::{{tab-set}}
:::{{tab-item}} Colab
{colab}
:::
:::{{tab-item}} Jupyter
Download {notebook} and {wheel}. In the folder of the two:

```console
$ pip install "{name}[book]" jupyterlab
$ jupyter lab {file}
```
:::
:::{{tab-item}} The whole book
In the book's folder, with Python 3.11 or later:

```console
$ make .venv/.ready && .venv/bin/pip install jupyterlab
$ .venv/bin/jupyter lab book/{file}
```
:::
::::

A GPU is used where there is one. You need none.
:::::
"""
UPLOAD = """\
1. Download {notebook} and {wheel}.
2. In [Colab](https://colab.research.google.com), choose *File → Upload notebook*.
3. Open the file panel on the left and upload the library there.
4. Choose *Runtime → Run all*. The first cell installs the library."""
LAUNCH = """\
Use the launch button at the top of this page, then *Runtime → Run all*. The first cell
installs the library."""


def find_wheel() -> Path | None:
    """The newest wheel of the library in ``dist``."""
    return max(
        (ROOT / "dist").glob("dsd_lib-*.whl"), key=lambda path: path.stat().st_mtime, default=None
    )


def box(docname: str, wheel: Path | None, launch: bool) -> str:
    """The box of a chapter, in MyST."""
    file = f"{docname.rsplit('/', 1)[-1]}.ipynb"
    up = "../" * docname.count("/")
    notebook = f'<a href="{up}_sources/{docname}.ipynb" download>the notebook</a>'
    library = "the library's wheel (`make wheel` builds it in `dist`)"
    if wheel:
        size = wheel.stat().st_size / 1e6
        link = f'<a href="{up}_static/{wheel.name}" download>the library</a>'
        library = f"{link} (`{wheel.name}`, {size:.0f} MB)"
    return BOX.format(
        colab=LAUNCH if launch else UPLOAD.format(notebook=notebook, wheel=library),
        notebook=notebook,
        wheel=library,
        name=f"./{wheel.name}" if wheel else "./dsd_lib-VERSION-py3-none-any.whl",
        file=file,
    )


def insert(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the box below the table at the head of a chapter, which names the running time."""
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    cells = notebook["cells"]
    place = next(
        number for number, cell in enumerate(cells, 1) if "Running time" in "".join(cell["source"])
    )
    launch = bool(app.config.html_theme_options.get("launch_buttons", {}).get("colab_url"))
    text = box(docname, find_wheel(), launch)
    cells.insert(place, {"cell_type": "markdown", "metadata": {}, "source": text})
    source[0] = json.dumps(notebook)


def carry(app: Sphinx, exception: Exception | None) -> None:
    """Copy the wheel into the built site, where the boxes link it."""
    wheel = find_wheel()
    if wheel and not exception and app.builder.format == "html":
        shutil.copy2(wheel, Path(app.outdir) / "_static")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("source-read", insert)
    app.connect("build-finished", carry)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
