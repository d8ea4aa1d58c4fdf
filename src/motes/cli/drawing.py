"""Options of a run and of its figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from motes.errors import UsageError
from motes.replacing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from motes.plots import Style
    from motes.training import Model, Recipe


FORMATS = ("png", "svg", "pdf")
DPI = (20, 1200)
INCHES = (2.0, 40.0)
CHOSEN = ("network.dropout", "network.scales", "training.target")  # for the data, where a recipe leaves them out


@dataclass(frozen=True)
class Drawing:
    """How figures look and how they are written.

    Attributes:
        style: Look of the figures.
        axes: Draw axes around points, and small print that says source, recipe, rows and seed; as the style has it if
            left out: light yes, dark no.
        format: Of the figures.
        dpi: Dots per inch of the figures, of those in SVG and PDF of the points alone.
        size: Width of each figure in inches; the height follows.

    Raises:
        UsageError: a resolution or a width out of range.

    Example:
        >>> from motes.cli.drawing import Drawing
        >>> Drawing("light").look.axes, Drawing("light", axes=False).look.axes
        (True, False)
    """

    style: Literal["dark", "light"] = "dark"
    axes: bool | None = None
    format: Literal["png", "svg", "pdf"] = "png"
    dpi: int = 120
    size: float | None = None

    def __post_init__(self) -> None:
        if not DPI[0] <= self.dpi <= DPI[1]:
            raise UsageError(f"got --dpi {self.dpi}; expected {DPI[0]} to {DPI[1]} dots per inch.")
        if self.size is not None and not INCHES[0] <= self.size <= INCHES[1]:
            raise UsageError(f"got --size {self.size:g}; expected a width of {INCHES[0]:g} to {INCHES[1]:g} inches.")

    @property
    def look(self) -> Style:
        """The style, with axes or without.

        Example:
            >>> from motes.cli.drawing import Drawing
            >>> Drawing().look.name
            'dark'
        """
        from motes.plots import STYLES

        style = STYLES[self.style]
        return style if self.axes is None else replace(style, axes=self.axes)


@dataclass(frozen=True)
class Album:
    """A folder of figures that look alike.

    Attributes:
        folder: where they are.
        drawing: how they look.
        about: where their rows come from.

    Example:
        >>> from pathlib import Path
        >>> from motes.cli.drawing import Album, Drawing
        >>> Album(Path("figures"), Drawing(style="light"), "moons").look.name
        'light'
    """

    folder: Path
    drawing: Drawing
    about: str

    @property
    def look(self) -> Style:
        """Of the figures."""
        return self.drawing.look

    def save(self, drawn: Figure | Axes, name: str, rows: str = "") -> Path:
        """Write a figure under a name without its suffix; `rows` says how many rows are on it. Returns the path.

        Example:
            >>> from pathlib import Path
            >>> from motes.cli.drawing import Album, Drawing
            >>> axes = motes.plots.scatter(motes.make_shape("moons", 100))
            >>> Album(Path(), Drawing(format="svg"), "moons").save(axes, "data").name
            'data.svg'
        """
        from matplotlib.figure import Figure

        from motes.plots import footnote, resize

        figure = drawn if isinstance(drawn, Figure) else drawn.figure
        assert isinstance(figure, Figure)  # the axes were made just now
        if self.drawing.size is not None:
            resize(figure, self.drawing.size)
        if self.look.axes:
            footnote(figure, " · ".join(part for part in (self.about, rows) if part), self.look)
        path = self.folder / f"{name}.{self.drawing.format}"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=self.drawing.dpi)
        return path


def origin_words(model: Model, seed: int) -> str:
    """Where the rows of a figure come from: what the model was trained on, by which recipe, and the seed."""
    source = Path(model.source).name if model.source else "rows in memory"
    seeds = f"seed {model.seed}" if model.seed == seed else f"trained with seed {model.seed}, drawn with seed {seed}"
    return f"{source} · {recipe_words(model.recipe)} · {seeds}"


def recipe_words(recipe: Recipe) -> str:
    """Name the built-in recipe closest to this one, and count the options that differ.

    Options that the built-in recipe leaves to the data are not counted: a trained model states the values that were
    chosen for it.

    Example:
        >>> recipe_words(motes.load_recipe("ddpm", {"training.steps": 10}))
        'recipe ddpm with 1 change'
    """
    from motes.recipe_files import recipe_names  # which load JAX, and options are read before
    from motes.recipes import load_recipe

    own = flat(recipe.to_dict())
    changes = {}
    for name in recipe_names():
        theirs = flat(load_recipe(name).to_dict())
        ignored = {"about", *(key for key in CHOSEN if key not in theirs)}
        changes[name] = sum(own.get(key) != theirs.get(key) for key in (own.keys() | theirs.keys()) - ignored)
    name = min(changes, key=lambda one: changes[one])
    count = changes[name]
    return f"recipe {name}" + (f" with {count} change{'s' * (count > 1)}" if count else "")


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """section.key -> value."""
    made: dict[str, Any] = {}
    for section, values in recipe.items():
        made |= (
            {f"{section}.{key}": one for key, one in values.items()} if isinstance(values, dict) else {section: values}
        )
    return made


# --- How a run is carried out. The command line has its defaults from here, so nothing heavy is imported ------------


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
        >>> from motes.cli.drawing import Options
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
