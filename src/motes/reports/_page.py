"""The record of an evaluation as one HTML file that needs nothing else; the templates are Jinja2's."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from motes.data._replacing import replacing
from motes.errors import UsageError
from motes.evaluation._entries import SECTIONS
from motes.evaluation._points import PointDetails
from motes.evaluation._record import Details, Evaluation
from motes.evaluation._table_details import TableDetails
from motes.evaluation._text import between, capital, number, p_value
from motes.reports._words import EXPLAINED, METHODS, SEVERITIES

if TYPE_CHECKING:
    from jinja2 import Environment


def check_page(path: str | Path) -> None:
    """Refuse a name or a place that no page can be written to, before the work.

    Raises:
        UsageError: a name that does not end in .html, or no such folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"got a report named '{path}'; expected a name that ends in .html.")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder '{path.parent}'. Make it first.")


def write_page(found: Evaluation[Details], path: str | Path, *, show_rows: bool = False) -> Path:
    """Write one self-contained page: no script, no font, no picture from elsewhere; dark, light or printed.

    Args:
        found: what an evaluation gave.
        path: of the file, ending in .html; one that is there is replaced.
        show_rows: of a table, show ten training rows and the ten held-out rows that the model finds least likely.

    Returns:
        The path.

    Raises:
        UsageError: a name that does not end in .html, or a folder that is not there or cannot be written to.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.reports import write_page
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> write_page(found, "report.html").name
        'report.html'
    """
    path = Path(path)
    check_page(path)
    text = page(found, show_rows=show_rows)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place for the report.") from None
    return path


def page(found: Evaluation[Details], *, show_rows: bool = False) -> str:
    """The text of that file.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.reports import page
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> page(found).startswith("<!doctype html>")
        True
    """
    from markupsafe import Markup

    from motes.reports import _charts as charts
    from motes.reports import _planes as planes
    from motes.reports import _point_views as point_views
    from motes.reports import _table_views as table_views

    details = found.details
    views = point_views if isinstance(details, PointDetails) else table_views
    quantiles = []
    if isinstance(details, PointDetails):
        quantiles = [line for one in details.columns for line in table_views.quantiles(one.name, "real", one.quantiles)]
    elif isinstance(details, TableDetails):
        for column in details.columns:
            if column.quantiles is not None:
                quantiles += table_views.quantiles(column.name, column.kind, column.quantiles)
    methods = [(capital(details.kind), METHODS[details.kind])]
    methods += [(SECTIONS[key].title, METHODS[key]) for key in found.verdicts]
    style = (resources.files("motes") / "reports" / "report.css").read_text(encoding="utf-8")
    return _environment().get_template(f"{details.kind}.html.j2").render(
        found=found,
        details=details,
        verdicts=found.verdicts,
        about={"date": found.date, "version": f"motes {found.version}", "seed": found.seed, **found.about},
        methods=methods,
        quantiles=quantiles,
        views=views,
        charts=charts,
        planes=planes,
        sections=SECTIONS,
        severities=SEVERITIES,
        explanations=EXPLAINED,
        show_rows=show_rows,
        style=Markup(style),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Templates, with text escaped wherever it enters: a column named <script> is a name and nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from motes.reports import _formats as formats
    from motes.reports._svg import printable

    made = Environment(
        loader=PackageLoader("motes.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=printable,
    )
    filters = (formats.two, formats.three, formats.whole, between, p_value, number, capital)
    made.filters |= {one.__name__: one for one in filters}
    return made
