"""Draw more rows than fit into memory, with any number of processes: one Parquet file per shard.

    shard k = a function of the model, the seed, the number of rows, the number of shards, and k

So a shard has the same bytes whichever process writes it, in whatever order, and you can repeat a call after any
interruption: complete shards are kept, and the missing ones are written.

    FOLDER/shard-00000.parquet          the rows of shard 0
    FOLDER/_motes/shard-00000.json      the size and SHA-256 checksum of this file
    FOLDER/_motes/manifest.json         the checksum of the model, the seed, rows, shards, columns and conditions
    FOLDER/_motes/model.safetensors     the model

Readers of Parquet folders skip names that begin with an underscore. Each file is written under a temporary name and
then renamed. Processes that write the same shard at the same time write the same bytes, so neither can damage the
other's work.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field, fields, is_dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from motes.data import Frame, as_frame
from motes.data.files import writing
from motes.data.frames import joined
from motes.drawing import draw_given
from motes.errors import DataError, ModelFileError, MotesError, UsageError, check_count, check_seed
from motes.loading import load
from motes.progress import OnProgress, Progress, silent
from motes.replacing import replacing, unfinished
from motes.training import Model

__all__ = ["Sampler", "check_shards", "sample_shards", "shard_rows", "write_shard"]

FORMAT, SHARD = 1, "shard-{:05}.parquet"
ABOUT, MANIFEST, MODEL = "_motes", "_motes/manifest.json", "_motes/model.safetensors"
ATTEMPTS = 3
CONTINUE = "Repeat the same call or command to write the other shards."


def shard_rows(n: int, shards: int, k: int) -> range:
    """Return the numbers of the rows in shard `k` of `n` rows; shards differ by at most one row.

    Raises:
        UsageError: for more shards than rows, or a shard that does not exist.

    Example:
        >>> from motes.cluster import shard_rows
        >>> [len(shard_rows(10, 3, k)) for k in range(3)]
        [3, 3, 4]
    """
    if check_count(shards, "shards") > check_count(n, "rows"):
        raise UsageError(f"got {shards:,} shards for {n:,} rows; expected at most one shard per row. Use fewer shards.")
    if not 0 <= k < shards:
        raise UsageError(f"got shard {k}; expected a number from 0 to {shards - 1}.")
    return range(n * k // shards, n * (k + 1) // shards)


@dataclass(frozen=True)
class Sampler:
    """Draws the rows of shards: `sampler(k)` returns shard `k` as a `Frame`.

    It can be pickled, so any engine can send it to its workers. Each process loads the model once.

    Attributes:
        model_path: a model file or the folder of a run, which all workers can read.
        n: number of rows of all shards together.
        shards: number of shards.
        seed: random seed.
        given: conditions, as in the model's `sample`.
        options: other options of the model's `sample`, such as {"placeholders": True}.
        checksum: checksum of the model; a worker that finds another model at `model_path` raises a `ModelFileError`.

    Raises:
        UsageError: for more shards than rows, or an invalid seed.
        ModelFileError: if the model cannot be loaded.

    Example:
        >>> from motes.cluster import Sampler
        >>> table.save("people.safetensors")
        >>> sampler = Sampler("people.safetensors", n=10, shards=3)
        >>> len(sampler(0)), sampler(0).names
        (3, ('age', 'smoker'))
    """

    model_path: str | Path
    _: KW_ONLY
    n: int
    shards: int
    seed: int = 0
    given: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    checksum: str = field(init=False)

    def __post_init__(self) -> None:
        shard_rows(self.n, self.shards, 0)
        check_seed(self.seed)
        object.__setattr__(self, "checksum", load(self.model_path).checksum)

    def __call__(self, k: int) -> Frame:
        return joined(self.frames(k), len(shard_rows(self.n, self.shards, k)))

    def frames(self, k: int) -> Iterator[Frame]:
        """Yield the rows of shard `k` block by block; the points of a shard are one block.

        Example:
            >>> from motes.cluster import Sampler
            >>> table.save("people.safetensors")
            >>> sum(len(block) for block in Sampler("people.safetensors", n=10, shards=3).frames(2))
            4
        """
        rows = shard_rows(self.n, self.shards, k)
        # Hashes of k would be equal for some pair of 10,000 shards in 1 % of cases; these numbers all differ.
        first = int(np.random.SeedSequence([self.seed, 141592]).generate_state(1)[0])
        model = _load(str(self.model_path), self.checksum)
        return _draw(model, rows, (first + k) % 2**32, self.given, self.options)


@lru_cache(maxsize=1)
def _load(path: str, checksum: str) -> Model:
    model = load(path)
    if model.checksum != checksum:
        raise ModelFileError(f"'{path}' is another model, or from another version of motes, than when sampling began.")
    return model


def _draw(model: Any, rows: range, seed: int, given: Any, options: Mapping[str, Any]) -> Iterator[Frame]:
    """Yield rows as frames; `rows` are their numbers, which placeholders contain."""
    chosen, n = {"seed": seed, **options}, len(rows)
    if model.kind == "table":
        placeholders, start = chosen.pop("placeholders", False), rows.start + 1
        for frame in model.blocks(n, given=given, **chosen):
            yield model.schema.with_placeholders(frame, start) if placeholders else frame
            start += len(frame)
    else:
        yield draw_given(model, n, given, **{"iid": False, "on_progress": silent, **chosen})[0]


# --- The folder of shards -------------------------------------------------------------------------------------------


def write_shard(sampler: Sampler, folder: str | Path, k: int) -> Path:
    """Write shard `k` into a folder unless it is already there and complete, and return the path of its file.

    If it fails, it is tried again, up to two times.

    Raises:
        UsageError, DataError: if there is no such shard, or the conditions do not fit the model.
        ModelFileError: if the model cannot be loaded, or differs from the sampler's.
        MotesError: if it failed three times, for example because the disk is full.

    Example:
        >>> from motes.cluster import Sampler, write_shard
        >>> table.save("people.safetensors")
        >>> write_shard(Sampler("people.safetensors", n=10, shards=3), ".", 2).name
        'shard-00002.parquet'
    """
    path, attempt = Path(folder) / SHARD.format(k), 0
    _record(path).parent.mkdir(exist_ok=True)
    while _find_problem(path):
        try:
            with writing(path) as write:
                for frame in sampler.frames(k):
                    write(frame)
            _write_json(_record(path), {"bytes": path.stat().st_size, "sha256": _sha256(path)})
        except MotesError:
            raise  # an error of motes is the same each time
        except Exception as error:
            if (attempt := attempt + 1) == ATTEMPTS:
                what = f"{type(error).__name__}: {error}".rstrip(".")
                raise MotesError(f"shard {k} failed {ATTEMPTS} times: {what}. {CONTINUE}") from error
    return path


def _find_problem(path: Path, *, thorough: bool = False) -> str:
    """Return what is wrong with a shard, "" if it is complete; its checksum is only verified if `thorough`."""
    try:
        record = json.loads(_record(path).read_text())
        if path.stat().st_size != record["bytes"]:
            return "incomplete"
        return "corrupt" if thorough and _sha256(path) != record["sha256"] else ""
    except FileNotFoundError:
        return "incomplete" if path.is_file() else "missing"
    except (ValueError, LookupError, TypeError):
        return "its record is damaged"


def _record(path: Path) -> Path:
    """Return the path of the record of a shard."""
    return path.parent / ABOUT / f"{path.stem}.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, contents: Any) -> None:
    with replacing(path, durable=True) as temporary:
        temporary.write_text(json.dumps(contents, indent=2, default=_as_json))


def _as_json(value: Any) -> Any:
    """Describe a condition or an option in JSON, in the same way in each process."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if is_dataclass(value):
        return [type(value).__name__, {each.name: getattr(value, each.name) for each in fields(value)}]
    if isinstance(value, Model):
        return value.checksum
    if hasattr(value, "columns"):
        return as_frame(value)
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of shards.

    Raises:
        UsageError: if the folder has none.
        DataError: if it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"'{folder}' has no {MANIFEST}; expected a folder from `motes sample RUN --shards N --out`.")
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise DataError(f"'{path}' is damaged. Write the shards into another folder.") from None


def _check_folder(folder: Path, call: dict[str, Any], columns: Callable[[], Sequence[str]]) -> None:
    """Write the manifest of a new folder, or check that it describes the same call.

    `columns` checks the options, by drawing a row, and returns its columns.

    Raises:
        UsageError: if the folder is a file, contains other files, or has another manifest.
    """
    if folder.is_file():
        raise UsageError(f"'{folder}' is a file; expected a folder for the shards.")
    others = sorted(path.name for path in folder.glob("[!._]*"))  # listed first: other processes may start now, too
    if not (folder / MANIFEST).is_file():
        if others:
            raise UsageError(f"'{folder}' contains other files, such as {others[0]}; expected a new or empty folder.")
        call = call | {"columns": columns()}
        (folder / ABOUT).mkdir(parents=True, exist_ok=True)
        _write_json(folder / MANIFEST, call)
    texts = lambda found: {key: json.dumps(found.get(key), default=_as_json, sort_keys=True) for key in call}
    there, here = texts(read_manifest(folder)), texts(call)  # as texts, in which NaN is equal to NaN
    if different := [
        f"{key} {there[key][:60]} there, {here[key][:60]} here" for key in call if there[key] != here[key]
    ]:
        raise UsageError(f"'{folder}' contains shards of another call: {'; '.join(different)}. Choose another folder.")


def sample_shards(
    model: Model | str | Path,
    n: int,
    *,
    shards: int,
    out: str | Path,
    shard: int | None = None,
    executor: Executor | None = None,
    seed: int = 0,
    given: Any = None,
    on_progress: OnProgress = silent,
    **options: Any,
) -> list[Path]:
    """Write `n` synthetic rows into a folder, as shards, and return the paths of their files.

    Complete shards in the folder are kept. A shard that fails is tried again, up to two times. On Ctrl-C, waiting
    shards are cancelled and running ones are finished. The same call continues.

    Args:
        model: a model, a model file, or the folder of a run.
        n: number of rows of all shards together.
        shards: number of shards. The best size is a million rows or so per shard.
        out: the folder; it is created if necessary. With an executor, all its workers must be able to write to it.
        shard: write only this shard, from 0 to `shards` - 1, as a task of a job array does.
        executor: any `concurrent.futures.Executor` whose workers do not fork this process; None: this process.
        seed: random seed.
        given: conditions, as in the model's `sample`.
        on_progress: called with the number of complete shards.
        options: other options of the model's `sample`.

    Raises:
        UsageError: for more shards than rows, a folder with other contents, or conditions that do not fit the model.
        MotesError: if a shard failed three times, or a worker process ended.
        KeyboardInterrupt: after Ctrl-C; it says how many shards are complete.

    Example:
        >>> from motes.cluster import sample_shards
        >>> [path.name for path in sample_shards(table, 10, shards=2, out="people")]
        ['shard-00000.parquet', 'shard-00001.parquet']
    """
    model = model if isinstance(model, Model) else load(model)
    shard_rows(n, shards, shard or 0)
    folder, call = Path(out), {"seed": check_seed(seed), "given": given, "options": options}
    about = {"format": FORMAT, "motes": version("motes"), "model": model.checksum, "rows": n, "shards": shards, **call}
    _check_folder(folder, about, lambda: next(_draw(model, range(1), seed, given, options)).names)
    if not (folder / MODEL).is_file():
        model.save(folder / MODEL)
    sampler = Sampler((folder / MODEL).absolute(), n=n, shards=shards, **call)
    if sampler.checksum != model.checksum:
        raise ModelFileError(f"'{folder / MODEL}' is not the model of the manifest. Delete it and repeat the call.")
    paths = {k: folder / SHARD.format(k) for k in (range(shards) if shard is None else [shard])}
    missing = [k for k, path in paths.items() if _find_problem(path)]
    futures = list[Future[Path]]()
    try:
        with ExitStack() as stack:
            engine = executor or stack.enter_context(ThreadPoolExecutor(1))  # a thread is not interrupted by Ctrl-C
            stack.callback(lambda: wait([future for future in futures if not future.cancel()]))
            for k in missing:
                futures.append(engine.submit(write_shard, sampler, folder.absolute(), k))
            for done, future in enumerate(as_completed(futures), len(paths) - len(missing) + 1):
                future.result()
                on_progress(Progress(done, len(paths)))
    except (BrokenExecutor, KeyboardInterrupt) as error:
        complete = f"{sum(not _find_problem(path) for path in paths.values()):,} of {len(paths):,} shards are complete"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"{complete}. {CONTINUE}") from None
        raise MotesError(f"a worker process ended: {str(error).rstrip('.')}. {complete}. {CONTINUE}") from error
    if shard is None:
        for path in unfinished(folder / SHARD.replace("{:05}", "*")):  # of processes that were killed
            path.unlink(missing_ok=True)
    return list(paths.values())


def check_shards(folder: str | Path, on_progress: OnProgress = silent) -> dict[str, str]:
    """Verify the checksums of a folder of shards, and return the problem of each missing or corrupt file.

    Raises:
        UsageError: if the folder has no manifest.
        DataError: if the manifest is damaged.

    Example:
        >>> from motes.cluster import check_shards, sample_shards
        >>> paths = sample_shards(table, 10, shards=2, out="people")
        >>> paths[1].unlink()
        >>> check_shards("people")
        {'shard-00001.parquet': 'missing'}
    """
    folder, problems = Path(folder), dict[str, str]()
    manifest = read_manifest(folder)
    try:
        problems[MODEL] = "" if load(folder / MODEL).checksum == manifest["model"] else "not the model of the manifest"
    except ModelFileError:
        problems[MODEL] = "missing or corrupt"
    for k in range(manifest["shards"]):
        problems[SHARD.format(k)] = _find_problem(folder / SHARD.format(k), thorough=True)
        on_progress(Progress(k + 1, manifest["shards"]))
    return {name: problem for name, problem in problems.items() if problem}
