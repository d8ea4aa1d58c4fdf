"""How much work one visitor may ask for. The page states these numbers."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """The most that is accepted; what asks for more is answered with a sentence and nothing is computed.

    Attributes:
        points: of a cloud.
        steps: of a sampler.
        cells: along one side of a grid of values.
        futures: random ways of one point.
        guidance: weight of it.
        sockets: open pages.
        trainings: that are under way at once.
        training_steps: of one training.
        rows: to train on.
        batch: of a training.
        schedule_steps: of a schedule that has steps.
        width: of a network.
        depth: of a network.
        layers: of all networks of a model together.
        number: any other whole number of a recipe.
        nodes: points of a drawing.
        upload: bytes of a file.
        columns: of a file.
        message: bytes of one request.
        address: bytes of an address.
        seconds: that a request may take to arrive.

    Example:
        >>> from motes.explorer import Limits
        >>> Limits(points=5_000).points
        5000
    """

    points: int = 20_000
    steps: int = 256
    cells: int = 64
    futures: int = 32
    guidance: float = 20.0
    sockets: int = 16
    trainings: int = 4
    training_steps: int = 20_000
    rows: int = 20_000
    batch: int = 2_048
    schedule_steps: int = 1_000
    width: int = 128
    depth: int = 8
    layers: int = 32
    number: int = 64
    nodes: int = 1_500
    upload: int = 4_000_000
    columns: int = 20
    message: int = 65_536
    address: int = 4_096
    seconds: float = 10.0

    def to_json(self) -> dict[str, float]:
        """By name.

        Example:
            >>> from motes.explorer import Limits
            >>> Limits().to_json()["sockets"]
            16
        """
        return asdict(self)
