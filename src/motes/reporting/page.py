"""The report on a table: from the headline to how it was measured, in one file that needs nothing else."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from motes.data.tables import replacing
from motes.errors import UsageError
from motes.evaluation.table_results import TITLES, TableEvaluation
from motes.reporting import sections
from motes.reporting.elements import Child, Html, classed, element, table
from motes.reporting.words import LEVELS, METHODS

DOCTYPE = Html("<!doctype html>\n")


def write_report(
    found: TableEvaluation,
    path: str | Path,
    *,
    title: str = "Synthetic and real rows",
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write one self-contained page: no script, no font, no picture from elsewhere; dark, light or printed.

    Args:
        found: what `evaluate_tables` gave.
        path: of the file, ending in .html; one that is there is replaced.
        title: of the page.
        about: what else is to be said at the end, by name: date, version, names of the model and of the file. A mapping
            as value, such as a recipe, becomes a list of its own.

    Returns:
        The path.

    Raises:
        UsageError: a name that does not end in .html, or a folder that is not there or cannot be written to.

    Example:
        >>> about = {"date": "2026-05-17", "recipe": {"training": {"steps": 2000}}}
        >>> write_report(found, "report.html", about=about)  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"got a report named '{path.name}'; expected a name that ends in .html.")
    text = page(found, title=title, about=about)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place for the report.") from None
    return path


def page(found: TableEvaluation, *, title: str, about: Mapping[str, Any] | None = None) -> str:
    """The text of that file."""
    style = Html((resources.files("motes") / "reporting" / "report.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", style),
    )
    made: dict[str, list[Child]] = {
        "columns": sections.columns(found),
        "associations": sections.associations(found),
        "classifier": sections.classifier(found),
        "utility": sections.utility(found),
        "likelihood": sections.likelihood(found),
        "dcr": sections.dcr(found),
        "copies": sections.copies(found),
    }
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            classed("p", "verdict", element("strong", found.headline)),
            classed("p", "soft", _sizes(found)),
            _overview(found),
        ),
        element(
            "main",
            *(_section(key, TITLES[key], parts) for key, parts in made.items() if parts),
            _section("examples", "Example rows", sections.examples(found)),
            _measured(found, about or {}),
        ),
        element("footer", element("p", "Made by motes.")),
    )
    return DOCTYPE + element("html", head, body, attributes={"lang": "en"}) + "\n"


def _sizes(found: TableEvaluation) -> str:
    rows = found.rows
    return (
        f"{rows['synthetic']:,} synthetic rows are compared with {rows['training'] + rows['held_out']:,} real rows: "
        f"{rows['training']:,} training rows and {rows['held_out']:,} held-out rows."
    )


def _overview(found: TableEvaluation) -> Html:
    rows: list[list[Child]] = []
    for key, one in found.verdicts.items():
        link = element("a", TITLES[key], attributes={"href": f"#{'columns' if key == 'missing' else key}"})
        seen = f"{one.seen[:1].upper()}{one.seen[1:]}" if one.seen else "-"
        rows.append([link, classed("span", one.level, LEVELS[one.level]), seen])
    head = ("section", "verdict", "would have been seen in 80 of 100 cases")
    return element(
        "nav", table("What each section says.", head, rows), attributes={"aria-label": "Sections and what they say"}
    )


def _section(key: str, title: str, parts: list[Child]) -> Html:
    return element("section", element("h2", title), *parts, attributes={"id": key})


def _measured(found: TableEvaluation, about: Mapping[str, Any]) -> Html:
    items: list[Child] = []
    for name, value in {**about, "seed": found.seed}.items():
        items += [element("dt", name), element("dd", _value(value))]
    for key, said in METHODS.items():
        if key not in TITLES or key in found.verdicts:
            items += [element("dt", TITLES.get(key, key)), element("dd", said)]
    notes = [element("li", note[:1].upper() + note[1:]) for note in found.notes]
    more = [element("h3", "In this report"), element("ul", *notes)] if notes else []
    return _section("measured", "How it was measured", [element("dl", *items), *more])


def _value(value: Any) -> Child:
    if not isinstance(value, Mapping):
        return str(value)
    items: list[Child] = []
    for name, inner in value.items():
        items += [element("dt", str(name)), element("dd", _value(inner))]
    return element("dl", *items)
