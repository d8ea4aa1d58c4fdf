from ._coverage import Prdc, prdc
from ._excess import ExcessLoss, excess_loss, noise_levels
from ._irreducible import LossCurve, irreducible_loss
from ._kernels import energy_distance, mmd_squared
from ._marginals import kolmogorov_smirnov, total_variation, wasserstein_1
from ._metrics import compare, negative_log_likelihood
from ._modes import ModeCoverage, Modes, mode_coverage
from ._own_metrics import PointMetric
from ._points import evaluate_points
from ._record import Evaluation
from ._results import Metric
from ._tables import evaluate_tables
from ._transport import sliced_w2, w2
from ._truth import Truth, truth
from ._two_sample import c2st, c2st_boosting

__all__ = [
    "Evaluation",
    "ExcessLoss",
    "LossCurve",
    "Metric",
    "ModeCoverage",
    "Modes",
    "PointMetric",
    "Prdc",
    "Truth",
    "c2st",
    "c2st_boosting",
    "compare",
    "energy_distance",
    "evaluate_points",
    "evaluate_tables",
    "excess_loss",
    "irreducible_loss",
    "kolmogorov_smirnov",
    "mmd_squared",
    "mode_coverage",
    "negative_log_likelihood",
    "noise_levels",
    "prdc",
    "sliced_w2",
    "total_variation",
    "truth",
    "w2",
    "wasserstein_1",
]
