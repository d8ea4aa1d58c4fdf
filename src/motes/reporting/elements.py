"""HTML from Python: text is escaped wherever it enters, so that a column named <script> is a name and nothing else."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Union

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Html(str):
    """Text that is HTML already. Only this module and the style sheet make it."""


Child = Union[str, "Html"]


def escaped(text: object) -> Html:
    """Text that shows as it is, in an element as in an attribute; control characters become U+FFFD."""
    return Html(html.escape(CONTROL.sub("\ufffd", str(text)), quote=True))


def joined(children: Sequence[Child]) -> Html:
    """Children one after another, those that are not `Html` escaped."""
    return Html("".join(child if isinstance(child, Html) else escaped(child) for child in children))


def element(name: str, *children: Child, attributes: Mapping[str, object] | None = None) -> Html:
    """<name ...>children</name>.

    Args:
        name: of the element.
        children: `Html`, or text to be escaped.
        attributes: name -> value, escaped.
    """
    said = "".join(f' {key}="{escaped(value)}"' for key, value in (attributes or {}).items())
    return Html(f"<{name}{said}>{joined(children)}</{name}>")


def classed(name: str, classes: str, *children: Child) -> Html:
    """An element of some classes of the style sheet."""
    return element(name, *children, attributes={"class": classes})


def table(caption: str, head: Sequence[Child], rows: Sequence[Sequence[Child]]) -> Html:
    """A table whose first cell in a row is the row's header."""
    top = element("tr", *(element("th", name, attributes={"scope": "col"}) for name in head))
    body = [
        element("tr", element("th", row[0], attributes={"scope": "row"}), *(element("td", cell) for cell in row[1:]))
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", top), element("tbody", *body))
    return classed("div", "wide", whole)
