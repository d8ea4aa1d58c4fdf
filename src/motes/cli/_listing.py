"""`motes shapes`, `motes datasets`, `motes recipes`, `motes samplers`: what there is to choose from."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from motes.cli._common import Seed, app, whole
from motes.errors import UsageError, unknown
from motes.runs._drawing import FORMATS


@app.command
def shapes(
    name: Annotated[str | None, Parameter(help="Only this one.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write the pictures to a .png, .svg or .pdf file instead.")] = None,
    n: Annotated[int, Parameter(alias="-n", converter=whole, help="Points in each picture.")] = 4000,
    noise: Annotated[float | None, Parameter(help="Blur; each shape's own if left out.")] = None,
    style: Annotated[Literal["dark", "light"], Parameter(help="Look of the pictures.")] = "dark",
    seed: Seed = 0,
) -> int:
    """List the shapes that can be trained on, with a picture each."""
    from motes.data._shapes import SHAPES, make_labelled_shape, make_shape
    from motes.plots.arrays import braille

    if name is not None and name not in SHAPES:
        raise UsageError(unknown("shape", name, SHAPES))
    chosen = [SHAPES[name]] if name else list(SHAPES.values())
    if out is not None:
        from motes.data._replacing import replacing
        from motes.plots import sheet

        if out.suffix.lower().removeprefix(".") not in FORMATS:
            raise UsageError(f"'{out}' ends in '{out.suffix}'; expected a name that ends in .png, .svg or .pdf.")
        clouds: dict[str, Any] = {
            shape.name: (make_labelled_shape if shape.classes else make_shape)(shape.name, n, seed=seed, noise=noise)
            for shape in chosen
        }
        with replacing(out) as temporary:
            sheet(clouds, style=style).savefig(temporary)
        print(f"{len(chosen)} shapes in {out}")
        return 0
    pictures = [braille(make_shape(shape.name, n, seed=seed, noise=noise)) for shape in chosen]
    for shape, picture in zip(chosen, pictures, strict=True):
        classes = f"{shape.classes} classes" if shape.classes else "no classes"
        print(f"{shape.name}: {shape.about} (noise {shape.noise:g}, {classes})")
        print(picture + "\n")
    return 0


@app.command
def datasets() -> int:
    """List the small tables that can be trained on by name; nothing is downloaded."""
    from motes.data._datasets import DATASETS

    print(f"{'data set':<14} {'rows':>5} {'columns':>7}  {'to predict':<12} {'comes with':<28} each row is")
    for one in DATASETS.values():
        print(f"{one.name:<14} {one.rows:>5,} {one.columns:>7}  {one.target:<12} {one.source:<28} {one.about}")
    print(
        "\n`motes columns NAME` shows the columns, and `motes train NAME` learns them. A name may stand wherever a file"
    )
    print('of rows may, and wins over a file of that name. In Python motes.dataset("NAME") is a pandas frame.')
    return 0


@app.command
def recipes(
    name: Annotated[str | None, Parameter(help="Print the file of this one, to start your own from.")] = None,
    /,
) -> int:
    """List the recipes, or print one."""
    from motes.recipes import recipe_about, recipe_names, recipe_text

    if name is not None:
        print(recipe_text(name), end="")
        return 0
    for known in recipe_names():
        print(f"{known:<10} {recipe_about(known)}")
    print(
        "\nmotes recipes NAME prints one; motes train SOURCE --recipe NAME --set section.key=value uses and changes it."
    )
    return 0


@app.command
def samplers() -> int:
    """List the samplers: how exact each is, what a step costs, and when to pick it."""
    from motes.recipes._reading import kinds_of

    print(f"{'sampler':<19} {'order':>5} {'evaluations':>11} {'noise':>5}  when to pick it")
    for name, sampler in kinds_of("sampler").items():
        one = sampler()
        cost = "adaptive" if one.evaluations is None else f"{one.evaluations} a step"
        print(f"{name:<19} {one.order:>5} {cost:>11} {'yes' if one.stochastic else 'no':>5}  {one.when}")
    print("order: the error falls as 1 / steps^order; where noise is drawn, that of the distribution of the points.\n")
    for name, grid in kinds_of("grid").items():
        about = (grid.__doc__ or "").partition("\n")[0]
        about = "" if about.startswith(f"{grid.__name__}(") else about  # what a dataclass without a docstring says
        print(f"grid {name:<15} {about}".rstrip())
    print(
        "\nmotes sample MODEL --sampler NAME --steps N --grid NAME uses them. Options, and times of your own, are set"
    )
    print("in a recipe: --set sampler.kind=ddim --set sampler.eta=0.5.")
    return 0
