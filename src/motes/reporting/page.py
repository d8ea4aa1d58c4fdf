"""The report on a table: from the verdict to how it was measured, in one file that needs nothing else."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from motes.data.tables import replacing
from motes.errors import UsageError
from motes.evaluation.table_results import TableEvaluation
from motes.reporting import sections
from motes.reporting.elements import Child, Html, classed, element
from motes.reporting.words import LEVELS, METHODS, TITLES

DOCTYPE = Html("<!doctype html>\n")


def write_report(
    found: TableEvaluation,
    path: str | Path,
    *,
    title: str = "Does it resemble the data?",
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write one self-contained page: no script, no font, no picture from elsewhere; dark, light or printed.

    Args:
        found: what `judge_table` said.
        path: of the file, ending in .html; one that is there is replaced.
        title: of the page.
        about: what else is to be said of how it was measured, such as the names of the model and of the file.

    Returns:
        The path.

    Raises:
        UsageError: a name that does not end in .html, or a folder that is not there or cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"a report named '{path.name}'; expected a name that ends in .html.")
    text = page(found, title=title, about=about)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place for the report.") from None
    return path


def page(found: TableEvaluation, *, title: str, about: Mapping[str, str] | None = None) -> str:
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
        "missing": [],
        "associations": sections.associations(found),
        "classifier": sections.classifier(found),
        "usefulness": sections.usefulness(found),
        "likelihood": sections.likelihood(found),
        "privacy": sections.privacy(found),
    }
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            classed("p", "verdict", element("strong", found.headline), found.details),
            classed("p", "soft", _sizes(found)),
            _overview(found),
        ),
        element("main", *(_section(key, parts) for key, parts in made.items() if parts), _measured(found, about)),
        element("footer", element("p", "Made by motes.")),
    )
    return DOCTYPE + element("html", head, body, attributes={"lang": "en"}) + "\n"


def _sizes(found: TableEvaluation) -> str:
    rows = found.rows
    return (
        f"{rows['made']:,} made rows, held against {rows['held out']:,} real rows that the training has not seen; "
        f"{rows['training']:,} rows were trained on."
    )


def _overview(found: TableEvaluation) -> Html:
    items = [
        element(
            "li",
            element(
                "a",
                f"{TITLES[key]}: ",
                classed("span", one.level, LEVELS[one.level]),
                attributes={"href": f"#{'columns' if key == 'missing' else key}"},
            ),
        )
        for key, one in found.judgements.items()
    ]
    return element("nav", element("ul", *items), attributes={"aria-label": "Sections and what they say"})


def _section(key: str, parts: list[Child]) -> Html:
    return element("section", element("h2", TITLES[key]), *parts, attributes={"id": key})


def _measured(found: TableEvaluation, about: Mapping[str, str] | None) -> Html:
    items: list[Child] = []
    for name, value in {**(about or {}), "seed": str(found.seed)}.items():
        items += [element("dt", name), element("dd", value)]
    for key, said in METHODS.items():
        if key not in TITLES or key in found.judgements:
            items += [element("dt", TITLES.get(key, key)), element("dd", said)]
    notes = [element("li", note[:1].upper() + note[1:]) for note in found.notes]
    more = [element("h3", "In this report"), element("ul", *notes)] if notes else []
    return element(
        "section", element("h2", "How it was measured"), element("dl", *items), *more, attributes={"id": "measured"}
    )
