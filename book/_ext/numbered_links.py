"""A Sphinx extension: every "Figure 4.9", "Table 5.1", "Exercise 2.3" and "Eq. (4)" is a link.

Authors write the words and nothing else. What a number leads to is found while the pages are read:

- a figure or table is where its caption begins, a paragraph that starts with ``**Figure 4.9.**``,
  or a ``<caption>`` or ``<figcaption>`` of an HTML output that starts with ``Figure 4.9``;
- an exercise is where its heading is, ``### Exercise 4.1: ...``;
- an equation is the first display formula of the book with its ``\\tag{4}``.

A number without a place of its own is a warning, which the strict build turns into an error. The
paper's own figures and tables have whole numbers ("Fig. 6", "Table 1") and stay as they are.
"""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

NUMBER = r"\d+\.\d+"
KIND = r"(?:Figure|Table|Exercise)"
CAPTION = re.compile(rf"^\s*(Figure|Table) ({NUMBER})\b")
HTML_CAPTION = re.compile(
    rf"<(?:fig)?caption\b[^>]*>(?:\s|<[^>]*>)*((?:Figure|Table) {NUMBER})\b", re.IGNORECASE
)
EXERCISE = re.compile(rf"^Exercise ({NUMBER})\b")
TAG = re.compile(r"\\tag\{(\d+)\}")
MENTION = re.compile(
    rf"\b(?P<kind>{KIND})(?P<plural>s?)\s+(?P<numbers>{NUMBER}(?:(?:,| to| and|, and)\s+{NUMBER})*)"
    r"|\b(?P<equation>Eqs?\.|[Ee]quations?)\s+(?P<tags>\(\d\)(?:(?:,| to| and|, and)\s+\(\d\))*)",
    re.IGNORECASE,
)
# Text inside these is not prose, or is a link already.
CLOSED = (nodes.FixedTextElement, nodes.literal, nodes.reference, nodes.title, nodes.math)


def mentions(text: str) -> Iterator[tuple[int, int, str]]:
    """The numbered things that a text names: start, end, and a key such as ``figure 4.9``."""
    for match in MENTION.finditer(text):
        group, kind, pattern = ("numbers", match["kind"], NUMBER)
        if match["equation"]:
            group, kind, pattern = ("tags", "equation", r"\((\d)\)")
        start = match.start()  # the first link begins at the word, the others at their numbers
        for number in re.finditer(pattern, match[group]):
            begin, end = (match.start(group) + place for place in number.span())
            yield (
                (begin if start is None else start),
                end,
                f"{kind} {number[0].strip('()')}".lower(),
            )
            start = None


def identifier(key: str) -> str:
    """``figure 4.9`` -> ``figure-4-9``."""
    return re.sub(r"[ .]", "-", key)


def find_places(document: nodes.document) -> dict[str, str]:
    """Give each numbered thing of a page an id: key -> id."""
    places = {}

    def put(key: str, node: nodes.Element) -> None:
        if key not in places:
            places[key] = identifier(key)
            node["ids"].append(places[key])

    for paragraph in document.findall(nodes.paragraph):
        if match := CAPTION.match(_opening(paragraph)):
            put(f"{match[1]} {match[2]}".lower(), paragraph)
    for raw in document.findall(nodes.raw):
        for match in HTML_CAPTION.finditer(raw.astext()):
            put(match[1].lower(), raw)
    for section in document.findall(nodes.section):
        if match := EXERCISE.match(section.next_node(nodes.title).astext()):
            put(f"exercise {match[1]}", section)
    for formula in document.findall(nodes.math_block):
        if match := TAG.search(formula.astext()):
            put(f"equation {match[1]}", formula)
    for raw in [node for node in document.findall(nodes.raw) if node["ids"]]:
        anchors = "".join(f'<span id="{name}"></span>' for name in raw["ids"])
        html = anchors + raw.astext()
        raw.clear()
        raw += nodes.Text(html)
        raw["ids"] = []
    return places


def _opening(node: nodes.Element) -> str:
    """The bold words that a paragraph begins with, or nothing."""
    first = next((child for child in node.children if child.astext()), None)
    return first.astext() if isinstance(first, nodes.strong) else ""


def remember(app: Sphinx, document: nodes.document) -> None:
    """Keep the places of the page that was just read."""
    app.env.numbered_places[app.env.docname] = find_places(document)


def link(app: Sphinx, document: nodes.document, docname: str) -> None:
    """Turn the names of numbered things in a page's prose into links."""
    places: dict[str, tuple[str, str]] = {}
    for page in sorted(app.env.numbered_places):  # chapters sort in reading order
        for key, name in app.env.numbered_places[page].items():
            places.setdefault(key, (page, name))
    places |= {key: (docname, name) for key, name in app.env.numbered_places[docname].items()}
    for text in list(document.findall(nodes.Text)):
        parts, done = [], 0
        for start, end, key in _open_mentions(text):
            if key not in places:
                words = text.astext()[start:end]
                logger.warning("%s is nowhere in the book", words, location=text.parent)
                continue
            page, name = places[key]
            uri = "" if page == docname else app.builder.get_relative_uri(docname, page)
            parts.append(nodes.Text(text.astext()[done:start]))
            parts.append(
                nodes.reference("", text.astext()[start:end], internal=True, refuri=f"{uri}#{name}")
            )
            done = end
        if parts:
            parts.append(nodes.Text(text.astext()[done:]))
            text.parent.replace(text, [part for part in parts if part.astext()])


def _open_mentions(text: nodes.Text) -> list[tuple[int, int, str]]:
    """The mentions in a text that may become links."""
    found = list(mentions(text.astext()))
    node = text.parent
    if found and CAPTION.match(node.astext()) and _opening(node.parent) == node.astext():
        return []  # a caption does not link to itself
    while found and node is not None:
        if isinstance(node, CLOSED):
            return []
        node = node.parent
    return found


def forget(_: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what a page had, before it is read again."""
    env.numbered_places.pop(docname, None)


def merge(_: Sphinx, env: BuildEnvironment, __: set[str], other: BuildEnvironment) -> None:
    """Join what parallel processes have read."""
    env.numbered_places |= other.numbered_places


def prepare(app: Sphinx) -> None:
    """A build starts with what the last one has read."""
    if not hasattr(app.env, "numbered_places"):
        app.env.numbered_places = {}


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", prepare)
    app.connect("env-purge-doc", forget)
    app.connect("doctree-read", remember)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
