"""Write an evaluation as one self-contained HTML page, from Jinja2 templates."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from motes.errors import UsageError
from motes.evaluation.results import SECTIONS, Details, Evaluation, between, capital, number, p_value
from motes.plots import svg, views
from motes.replacing import replacing

if TYPE_CHECKING:
    from jinja2 import Environment


def check_page(path: str | Path) -> None:
    """Check, before the work, that a page can be written to a path.

    Raises:
        UsageError: if the name does not end in .html, or the folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"got a report named '{path}'; expected a name that ends in .html.")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder '{path.parent}'. Make it first.")


def write_page(found: Evaluation[Details], path: str | Path, *, show_rows: bool = False) -> Path:
    """Write an evaluation as one self-contained HTML page, without scripts, fonts or pictures from elsewhere.

    Args:
        found: the evaluation.
        path: file name ending in .html; an existing file is replaced.
        show_rows: for a table, show ten training rows.

    Returns:
        The path.

    Raises:
        UsageError: if the name does not end in .html, or the folder does not exist or is not writable.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.plots import write_page
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
    """Return the HTML of the page that `write_page` writes.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.plots.report import page
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> page(found).startswith("<!doctype html>")
        True
    """
    details = found.details
    style = (resources.files("motes") / "plots" / "report.css").read_text(encoding="utf-8")
    return _environment().get_template(f"{details.kind}.html.j2").render(
        found=found,
        details=details,
        verdicts=found.verdicts,
        about={"date": found.date, "version": f"motes {found.version}", "seed": found.seed, **found.about},
        views=views,
        svg=svg,
        sections=SECTIONS,
        show_rows=show_rows,
        style=Markup(style),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Return the Jinja2 environment. All text is escaped, so that a column may be named <script>."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("motes.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=svg.printable,
    )
    filters = (views.two, views.three, between, p_value, number, capital)
    made.filters |= {one.__name__: one for one in filters}
    return made
