from ._diagnosis_figures import diagnosis_figures
from ._drawing import Album, Drawing
from ._film import ModelView, evenly, film_grid
from ._options import Options
from ._run import train_run

__all__ = ["Album", "Drawing", "ModelView", "Options", "diagnosis_figures", "evenly", "film_grid", "train_run"]
