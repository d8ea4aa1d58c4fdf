"""Arrays and a few texts in one file that is either whole or refused.

The file is safetensors, so no code runs when it is read. It is written under a temporary name and renamed, and carries
a checksum over everything in it.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.data._replacing import replacing
from motes.errors import ModelFileError, MotesError, UnknownKindError, UsageError, check_process

FORMAT = "4"
SUFFIX = ".safetensors"
M = TypeVar("M", bound=eqx.Module)


def write_checkpoint(path: Path, tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> None:
    """Write `tensors` and the texts `about`, whole or not at all.

    Raises:
        UsageError: as `check_name`.
        OSError: the folder is not there, cannot be written, or is full.
    """
    from safetensors.numpy import save

    check_name(path)
    texts = {"format": FORMAT, "motes": version("motes"), **about}
    texts["sha256"] = _digest(tensors, texts)
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(save(dict(tensors), metadata=texts))


def check_name(path: Path) -> None:
    """Refuse a name that says it is another kind of file.

    Raises:
        UsageError: it does not end in .safetensors.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"'{path}' ends in '{path.suffix}'; expected a name that ends in {SUFFIX}.")


def complete_name(path: str | Path) -> Path:
    """The name of a model file: .safetensors is appended to one without a suffix.

    Raises:
        UsageError: as `check_name`.
    """
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + SUFFIX)
    check_name(path)
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """What `write_checkpoint` wrote.

    Raises:
        ModelFileError: no such file, another format, or any damage.
    """
    from safetensors import SafetensorError, safe_open

    check_process()  # whoever reads one is about to compute
    if not path.is_file():
        raise ModelFileError(f"there is no model file '{path}'. `motes train` makes one.")
    try:
        with safe_open(path, framework="numpy") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelFileError(f"'{path}' is damaged or not a model of motes: {error}.") from None
    if "motes" not in about or "format" not in about:
        raise ModelFileError(f"'{path}' is a safetensors file, but not a model of motes.")
    if about["format"] != FORMAT:
        raise ModelFileError(
            f"'{path}' has format {about['format']}, written by motes {about['motes']}; "
            f"motes {version('motes')} reads format {FORMAT}."
        )
    if about.pop("sha256", None) != _digest(tensors, about):
        raise ModelFileError(f"'{path}' is damaged: its contents do not match its checksum.")
    return tensors, about


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it what a file says is checked, and becomes the parts of a model.

    Raises:
        ModelFileError: in the place of anything that malformed texts and arrays raise.
    """
    try:
        yield
    except ModelFileError:
        raise
    except UnknownKindError as error:
        raise ModelFileError(f"'{path}': {error}") from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, MotesError) as error:
        what = error if isinstance(error, ValueError | MotesError) else repr(error)
        raise ModelFileError(f"'{path}' is not a whole model of motes: {what}") from None


def arrays_of(module: eqx.Module) -> dict[str, NDArray]:
    """The arrays of a module, each by the path of its attribute."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(module, eqx.is_array))
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def filled(skeleton: M, tensors: Mapping[str, NDArray], path: Path) -> M:
    """`skeleton` with its arrays from `tensors`, which must be the very ones it wants."""

    def take(key: Any, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        name = jax.tree_util.keystr(key).lstrip(".")
        if name not in tensors:
            raise ModelFileError(f"'{path}' lacks the weights '{name}' that its recipe asks for.")
        if tensors[name].shape != leaf.shape or tensors[name].dtype != leaf.dtype:
            got = f"{tensors[name].dtype} {tensors[name].shape}"
            raise ModelFileError(
                f"'{path}': weights '{name}' are {got}; its recipe asks for {leaf.dtype} {leaf.shape}."
            )
        if not np.isfinite(tensors[name]).all():
            raise ModelFileError(f"'{path}': weights '{name}' are not all finite.")
        wanted.add(name)
        return tensors[name]

    wanted: set[str] = set()
    module = jax.tree_util.tree_map_with_path(take, skeleton)
    if extra := tensors.keys() - wanted:
        raise ModelFileError(f"'{path}' has weights that its recipe does not ask for: {', '.join(sorted(extra))}.")
    # A network of your own may hold functions, such as activations, beside its arrays.
    arrays, rest = eqx.partition(module, lambda leaf: isinstance(leaf, np.ndarray))
    return cast(M, eqx.combine(jax.device_put(arrays), rest))


def _digest(tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> str:
    sha = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        sha.update(np.ascontiguousarray(tensor).tobytes())
    return sha.hexdigest()
