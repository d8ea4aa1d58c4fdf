from ._diagnosis_figures import diagnosis_figures
from ._options import Options
from ._point_figures import ModelView, evenly, film_grid
from ._run import train_run

__all__ = ["ModelView", "Options", "diagnosis_figures", "evenly", "film_grid", "train_run"]
