"""Metrics, tests and verdicts; evaluations and diagnoses of models."""

from motes.evaluation.diagnosis import Diagnosis, ErrorSplit
from motes.evaluation.findings import Finding
from motes.evaluation.losses import ExcessLoss
from motes.evaluation.metrics import (
    PointMetric,
    c2st,
    c2st_boosting,
    compare,
    energy_distance,
    mmd_squared,
    mode_coverage,
    prdc,
    sliced_w2,
)
from motes.evaluation.models import compare_ema_lengths
from motes.evaluation.pairs import Modes
from motes.evaluation.points import evaluate_points
from motes.evaluation.posteriors import Calibration, calibration
from motes.evaluation.results import Evaluation, Metric
from motes.evaluation.table_diagnosis import TableDiagnosis
from motes.evaluation.tables import evaluate_tables

__all__ = [
    "Calibration", "Diagnosis", "ErrorSplit", "Evaluation", "ExcessLoss", "Finding", "Metric", "Modes",
    "PointMetric", "TableDiagnosis", "c2st", "c2st_boosting", "calibration", "compare", "compare_ema_lengths",
    "energy_distance", "evaluate_points", "evaluate_tables", "mmd_squared", "mode_coverage", "prdc", "sliced_w2",
]  # fmt: skip
