"""How a run is carried out. The command line has its defaults from here, so nothing heavy is imported."""

from dataclasses import dataclass

from motes.errors import UsageError
from motes.runs._drawing import Drawing


@dataclass(frozen=True)
class Options:
    """How a run is carried out; what is learned is in the recipe.

    Attributes:
        seed: of everything random.
        overwrite: replace the run that is in the folder.
        resume: go on with the training of the run that is in the folder.
        checkpoint_every: seconds from one checkpoint of the training to the next, at least.
        figures: draw them.
        drawing: how they look.

    Raises:
        UsageError: both `resume` and `overwrite`, or a negative time.

    Example:
        >>> from motes.runs import Options
        >>> Options(seed=1, figures=False).checkpoint_every
        30.0
    """

    seed: int = 0
    overwrite: bool = False
    resume: bool = False
    checkpoint_every: float = 30.0
    figures: bool = True
    drawing: Drawing = Drawing()

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("got resume and overwrite; expected one of them: go on with the run, or replace it.")
        if not self.checkpoint_every >= 0:
            raise UsageError(f"got checkpoint_every = {self.checkpoint_every:g}; expected seconds, at least 0.")
