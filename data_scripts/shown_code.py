"""The code of a chapter as its page shows it: without the comments that only tools read.

A Sphinx extension (see ``local_extensions`` in ``_config.yml``): what it leaves out stays in the
notebook, for nbval, Ruff and Colab.
"""

import json
import re

_WHOLE_LINE = re.compile(r"^\s*#\s*(NBVAL_\w+|fmt:|@title\b|@param\b|noqa\b|ruff:).*\n?", re.M)
_AT_THE_END = re.compile(r"[ \t]+#\s*(fmt:|noqa\b|type: ignore|@param\b).*$", re.M)


def shown(code: str) -> str:
    """The lines of a cell that its page shows.

    >>> shown("# NBVAL_CHECK_OUTPUT\\nx = [1,\\n     2]  # fmt: skip\\n# a comment")
    'x = [1,\\n     2]\\n# a comment'
    """
    return _AT_THE_END.sub("", _WHOLE_LINE.sub("", code)).strip("\n")


def _read(app: object, page: str, source: list[str]) -> None:
    """What Sphinx calls with each page before it is parsed."""
    if not str(app.env.doc2path(page)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = shown("".join(cell["source"]))
    source[0] = json.dumps(notebook, ensure_ascii=False)


def setup(app: object) -> dict[str, object]:
    """What Sphinx calls to load the extension."""
    app.connect("source-read", _read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
