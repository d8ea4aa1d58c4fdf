"""Write an evaluation as one self-contained HTML page, from Jinja2 templates."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from motes.errors import UsageError
from motes.evaluation import Evaluation
from motes.evaluation.points import PointDetails
from motes.evaluation.records import SECTIONS, Details
from motes.evaluation.results import between, capital, number, p_value
from motes.evaluation.table_results import TableDetails
from motes.replacing import replacing

if TYPE_CHECKING:
    from jinja2 import Environment


SEVERITIES = {
    "good": "No difference detected",
    "unknown": "Could not be determined",
    "small": "Small difference",
    "moderate": "Moderate difference",
    "large": "Large difference",
}
EXPLAINED = {
    "columns": "Each column separately, over all synthetic and all real rows. The difference, synthetic minus real, is "
    "the clearest difference in the share of a label, of the numbers up to a threshold, or of one frequent number. "
    "Its interval takes all tests of this report into account: it excludes 0 exactly if a difference is found. The "
    "distance is the share of rows that would have to move for the two distributions to agree; the reference value is "
    "its expectation for two draws from one distribution.",
    "quantiles": "Minimum, quartiles and maximum over all rows. Synthetic rows outside the real range show here.",
    "associations": "How strongly two columns are associated, from 0 (not at all) to 1 (fully determined); between "
    "numbers with a sign. The difference is synthetic minus real. The column 'beyond chance' measures how differently "
    "the two columns are related; it can be above 0 for equal associations, if other values occur together.",
    "classifier": "Boosted trees learn to distinguish synthetic from held-out rows and are tested on unseen rows. An "
    "accuracy of 50 % is guessing.",
    "utility": "The same model learns the target once from synthetic and once from training rows; both are tested on "
    "the same held-out rows.",
    "likelihood": "The log-likelihood of real rows under the model, in nats per row: more is better. If training rows "
    "are much more likely than held-out rows, the model has memorised them. The log-likelihood does not measure how "
    "realistic synthetic rows are.",
    "dcr": "The distance from each row to the closest training row. The model was not trained on held-out rows, so "
    "synthetic rows should be about as far away as they are. Exact copies are excluded here and counted below.",
    "copies": "Rows that equal a training row in every entry. In a table of few labels, copies occur by chance, so "
    "held-out rows that equal a training row are counted too, and training rows that equal another.",
    "pictures": "Points of both sets on the same axes, then each column separately. A histogram covers the range of "
    "both sets together; the table shows minimum, quartiles and maximum.",
    "calibration": "Each row is compared with draws from the posterior given its observation. If the posteriors are "
    "correct, the row is like one more draw, so its rank among the draws is uniform. Posteriors that are too narrow "
    "have too many ranks near the ends; posteriors that are too wide have too many near the middle. The width is 1 "
    "for correct posteriors, and 0.8 if they are 20 % too narrow.",
    "distances": "How far probability must move to turn the distribution of the samples into that of the data, in "
    "standard deviations of the data. Even two real draws of the same size have a distance above 0: the reference "
    "value.",
    "tests": "Tests of one hypothesis: samples and real points have the same distribution. For a classifier, an "
    "accuracy of 50 % is guessing.",
    "coverage": "Do the samples lie where the data is (precision, density), and do they cover all of the data "
    "(recall, coverage)? Measured by nearest neighbours.",
    "modes": "The data has modes with known positions and shares. Does each mode have its share of the samples?",
    "fit": "The log-likelihood of real points under the model, compared with the exact distribution; and the excess of "
    "the network's loss over the irreducible loss of an exact denoiser. Integrated over noise levels, the excess "
    "bounds the Kullback-Leibler divergence, in nats per row.",
    "examples": "Ten synthetic rows, drawn at random. This report shows no real row; to add some, use show_rows=True "
    "or `motes evaluate --report FILE.html --show-rows`.",
    "real_examples": "Ten rows of each kind, drawn at random. The real ones are training rows: do not share this "
    "report if they must stay private.",
}
METHODS = {
    "points": "Each metric is computed for the samples and for another real draw of the same size, which gives the "
    "reference value. All verdicts are one family of tests: if samples and real points had the same distribution, 5 of "
    "100 reports would contain one or more false alarms. Rows are exchanged between both sets at random, 199 times, "
    "in blocks, and every metric is computed again each time. A value is outside the range of chance exactly if its "
    "p-value, adjusted for all metrics, is below 0.05; only then does a difference count (Westfall & Young 1993; for "
    "boosted trees and the metrics of the model, Holm's method). The size of a difference decides whether it is small, "
    "moderate or large. A test detects a difference of the stated size in about 80 of 100 cases.",
    "posteriors": "99 draws of the model for each row. All verdicts on the calibration are one family of tests "
    "(Bonferroni): with correct posteriors, 25 of 1,000 reports would contain one or more false alarms. A difference "
    "is found if the p-value, adjusted for all tests, is below 0.025.",
    "calibration": "Simulation-based calibration (Talts et al. 2018): Kolmogorov's test of the ranks of each column. "
    "For all columns together, the test uses the ranks of distances to a reference row, the earlier row with the most "
    "similar observation (TARP, Lemos et al. 2023). The width is 1 over the standard deviation of the normal scores of "
    "the ranks; for all columns together, rows are ranked by their Mahalanobis distance. Tests and intervals of widths "
    "are chi-squared.",
    "distances": "Sliced W2 along 200 directions, tested along every twelfth; exact W2 of at most 200 rows per set. "
    "Divided by the root of the mean variance per column.",
    "modes": "The nearest mode of each sample; the distance is the total variation of the shares.",
    "fit": "log p of up to 2,000 real points by the probability flow, compared with the exact log p, or if it is "
    "unknown with log p of training rows. Student's test for the same rows, otherwise Welch's. The excess loss is "
    "the mean squared difference between the network's noise and the exact one; above 0.2 nats it is a difference.",
    "table": "All tests of this report are one family: if synthetic and real rows had the same distribution, 5 of 100 "
    "reports would contain one or more false alarms. Each p-value is adjusted accordingly (Holm's method with weights; "
    "within columns and within pairs, correlations of the tests are taken into account). Intervals of tested values "
    "have the same level. A test detects a difference of the stated size in 80 of 100 cases.",
    "tests": "Energy distance, and MMD with five Gaussian kernels. C2ST: nearest neighbours, cross-validated; and "
    "boosted trees on unseen rows, with a hypergeometric p-value.",
    "coverage": "Precision and recall of Kynkäänniemi et al. 2019, density and coverage of Naeem et al. 2020.",
    "columns": "Signed roots of likelihood ratios for shares; Newcombe's intervals. Distances: Kolmogorov-Smirnov for "
    "numbers, total variation for labels.",
    "missing": "As for columns, with the shares of missing entries.",
    "associations": "Two numbers: Spearman's rank correlation, with ranks among all rows. Two labels: bias-corrected "
    "Cramér's V. A number and a label: bias-corrected correlation ratio of the ranks. Tests by 399 permutations of "
    "blocks of rows; intervals by the jackknife.",
    "classifier": "50 boosted trees learn from one half of the rows, equally many synthetic and held-out ones, and are "
    "tested on the other half; the p-value is hypergeometric. The importance of a column is the loss of accuracy when "
    "its entries are permuted.",
    "utility": "100 boosted trees, five times, each time without one fifth of the rows. Labels are scored by the area "
    "under the ROC curve (each label against the rest), numbers by R² of their normal scores. Intervals include the "
    "variation of both test rows and training rows.",
    "likelihood": "Means of log p with Student's t intervals; Welch's one-sided test.",
    "dcr": "Euclidean distance between normal scores of the numbers; a different label, or an entry missing in one of "
    "the rows, counts as 1. The share of near rows is tested exactly (negative hypergeometric).",
    "copies": "Fisher's exact test. Training rows that equal another come in pairs, and count one half.",
}


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
    from markupsafe import Markup

    from motes.plots import svg, views

    details = found.details
    quantiles = []
    if isinstance(details, PointDetails):
        quantiles = [line for one in details.columns for line in views.quantiles(one.name, "real", one.quantiles)]
    elif isinstance(details, TableDetails):
        for column in details.columns:
            if column.quantiles is not None:
                quantiles += views.quantiles(column.name, column.kind, column.quantiles)
    methods = [(capital(details.kind), METHODS[details.kind])]
    methods += [(SECTIONS[key].title, METHODS[key]) for key in found.verdicts]
    style = (resources.files("motes") / "plots" / "report.css").read_text(encoding="utf-8")
    return _environment().get_template(f"{details.kind}.html.j2").render(
        found=found,
        details=details,
        verdicts=found.verdicts,
        about={"date": found.date, "version": f"motes {found.version}", "seed": found.seed, **found.about},
        methods=methods,
        quantiles=quantiles,
        views=views,
        svg=svg,
        sections=SECTIONS,
        severities=SEVERITIES,
        explanations=EXPLAINED,
        show_rows=show_rows,
        style=Markup(style),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Return the Jinja2 environment. All text is escaped, so that a column may be named <script>."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from motes.plots import views
    from motes.plots.svg import printable

    made = Environment(
        loader=PackageLoader("motes.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=printable,
    )
    filters = (views.two, views.three, between, p_value, number, capital)
    made.filters |= {one.__name__: one for one in filters}
    return made
