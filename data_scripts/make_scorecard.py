"""Write the book's scorecard, ``book/scorecard.md``: the paper's results, ours, and a verdict each.

    python -m data_scripts.make_scorecard

The entries are in ``data_scripts/shared/paper_results.py``. A test fails when the page is not what
this script writes.
"""

import re

import nbformat
from myst_parser.mdit_to_docutils.base import default_slugify

from data_scripts.chapters import chapter_paths
from data_scripts.shared.paper_results import SECTIONS, VERDICTS, Entry
from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

PAGE = """\
# Scorecard

Every equation, table and figure of the paper {{cite}}`kligvasser2021dsd`, plus four claims from
its text, each with our result next to it. [So, does DSD work?](does_dsd_work.md) says what it all
means.

{digest}

Our setup differs from the paper's: we use VGG-16 instead of VGG-19, other data sets, and training
runs of minutes to an hour instead of days. So “not reproduced” does not mean “wrong”. Numbers in
parentheses are 95% {{term}}`bootstrap` intervals. `python -m data_scripts.make_scorecard` writes
this page from the result files; [the status page](status.md) says where each file comes from.

{sections}
"""
ENTRY = """\
({label})=
### {name}: {title}

[{verdict}]{{.dsd-verdict .dsd-{style}}}

**The paper:** {paper}

**Ours:** {ours}

**Why:** {why} → [Chapter {chapter}]({link})
"""


def heading(chapter: int, words: str) -> str | None:
    """The heading of a chapter that has one of the words (``this|or this``)."""
    path = next(path for path in chapter_paths() if path.stem.startswith(f"{chapter:02}_"))
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
    return next((h for h in found if re.search(words, h, re.IGNORECASE)), None)


def link(chapter: int, words: str) -> str:
    """The address of a chapter's section, or of the chapter while it has none with these words."""
    path = next(path for path in chapter_paths() if path.stem.startswith(f"{chapter:02}_"))
    found = heading(chapter, words)
    return f"{path.name}#{default_slugify(found)}" if found else path.name


def entries() -> dict[str, list[Entry]]:
    """All entries, by section."""
    return {name: [make() for make in makers] for name, makers in SECTIONS.items()}


def page() -> str:
    """The whole page."""
    everything = entries()
    flat = [entry for group in everything.values() for entry in group]
    digest = []
    for verdict, meaning in VERDICTS.items():
        named = [f"[{e.name}](#{_label(e)})" for e in flat if e.verdict == verdict]
        mark = f"[{verdict}]{{.dsd-verdict .dsd-{_style(verdict)}}}"
        digest.append(f"{mark} **{len(named)}**, {meaning}:\n{', '.join(named) or 'none'}")
    sections = [
        f"## {name}\n\n" + "\n".join(_render(entry) for entry in group)
        for name, group in everything.items()
    ]
    return PAGE.format(digest="\n\n".join(digest), sections="\n".join(sections).strip())


def _render(entry: Entry) -> str:
    fields = {name: getattr(entry, name) for name in ("name", "title", "verdict", "chapter")}
    sentences = {k: _sentence(getattr(entry, k)) for k in ("paper", "ours", "why")}
    return ENTRY.format(
        label=_label(entry),
        style=_style(entry.verdict),
        link=link(entry.chapter, entry.section),
        **fields,
        **sentences,
    )


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _label(entry: Entry) -> str:
    return "score-" + re.sub(r"[^a-z0-9]+", "-", entry.name.lower())


def _style(verdict: str) -> str:
    return verdict.replace(" ", "-")


def main() -> None:
    """Write the page."""
    write_atomically(ROOT / "book" / "scorecard.md", page())


if __name__ == "__main__":
    main()
