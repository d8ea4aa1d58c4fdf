from ._after import Diagnosis, diagnose_model
from ._before import diagnose
from ._calibration import Calibration, calibration
from ._ema_lengths import EmaLengths, compare_ema_lengths
from ._findings import Finding
from ._local import LocalCalibration, local_calibration
from ._of_tables import TableDiagnosis, diagnose_table
from ._split import ErrorSplit

__all__ = [
    "Calibration",
    "Diagnosis",
    "EmaLengths",
    "ErrorSplit",
    "Finding",
    "LocalCalibration",
    "TableDiagnosis",
    "calibration",
    "compare_ema_lengths",
    "diagnose",
    "diagnose_model",
    "diagnose_table",
    "local_calibration",
]
