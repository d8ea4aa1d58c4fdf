"""Draw, score, fill in or predict more rows than fit into memory, with any number of processes: one file per shard.

    a shard = a function of the model, the options, and one work item: a number k, or one file of a folder

So a shard has the same bytes whichever process writes it, in whatever order, and you can repeat a call after any
interruption: complete shards are kept, and the missing ones are written.

    FOLDER/shard-00000.parquet               the rows of shard 0; the answers to a file have the name of this file
    FOLDER/_motes/shard-00000.parquet.json   its number of rows, size and SHA-256 checksum; for answers, also size and
                                             time of change of the file that was read
    FOLDER/_motes/manifest.json              the task, the checksum of the model, the options, the names of the files
    FOLDER/_motes/model.safetensors          the model

Readers of Parquet folders skip names that begin with an underscore. Each file is written under a temporary name and
then renamed. Processes that write the same shard at the same time write the same bytes, so neither can damage the
other's work.
"""

import hashlib
import json
import shutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, fields, is_dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from motes.data import Blocks, Frame, as_frame
from motes.data.files import RowGroup, parts_of, writing
from motes.data.frames import Template, joined
from motes.data.points import fingerprint_of
from motes.drawing import check_imputing, impute_blocks, sample_blocks, score_blocks
from motes.errors import DataError, ModelFileError, MotesError, UsageError, check_count, check_seed
from motes.jobs import run_jobs
from motes.loading import load, model_path
from motes.progress import OnProgress, Progress, silent
from motes.replacing import replacing, unfinished
from motes.tables.predictions import DRAWS, QUANTILES, predict_blocks, rows_without
from motes.text_options import TextOptions
from motes.training import Model
from motes.training.model import with_index

__all__ = [
    "Imputer", "Predictor", "Sampler", "Scorer", "check_shards", "sample_shards", "shard_rows", "write_shard",
    "write_shards",
]  # fmt: skip

FORMAT, SHARD = 1, "shard-{:05}.parquet"
ABOUT, MANIFEST, MODEL = "_motes", "_motes/manifest.json", "_motes/model.safetensors"
ATTEMPTS = 3
FilePart = str | Path | RowGroup
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


# --- What a worker does: callables that can be pickled and load the model once per process --------------------------


@dataclass(frozen=True)
class ShardTask(ABC):
    """A function of a model and a work item, which yields the rows of one shard."""

    model_path: str | Path
    _: KW_ONLY
    checksum: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checksum", load(self.model_path).checksum)

    @property
    def model(self) -> Any:
        """The model, loaded once per process."""
        return _load(str(self.model_path), self.checksum)

    @abstractmethod
    def frames(self, item: Any) -> Iterator[Frame]:
        """Yield the rows of the shard of a work item block by block."""

    @abstractmethod
    def shard_name(self, item: Any) -> str:
        """Return the name of the file of a work item's shard."""

    @abstractmethod
    def stamp(self, item: Any) -> list[int] | None:
        """Return what changes when the file of a work item changes; None if it is no file."""

    @abstractmethod
    def preview(self, item: Any) -> Frame:
        """Return the first row of a shard, or one like it, which checks the options."""

    def _describe(self) -> dict[str, Any]:
        """Return what a manifest contains about the task: its name, the checksum of the model, and the options."""
        options = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        about = {"task": type(self).__name__, "model": self.checksum}
        return about | {name: value for name, value in options.items() if name != "model_path"}


@lru_cache(maxsize=1)
def _load(path: str, checksum: str) -> Model:
    model = load(path)
    if model.checksum != checksum:
        raise ModelFileError(f"'{path}' is another model, or from another version of motes, than when the work began.")
    return model


@dataclass(frozen=True, kw_only=True)
class Sampler(ShardTask):
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

    n: int
    shards: int
    seed: int = 0
    given: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shard_rows(self.n, self.shards, 0)
        check_seed(self.seed)
        super().__post_init__()

    def __call__(self, k: int) -> Frame:
        return joined(self.frames(k), len(shard_rows(self.n, self.shards, k)))

    def frames(self, k: int) -> Iterator[Frame]:
        """Yield the rows of shard `k` block by block.

        Example:
            >>> from motes.cluster import Sampler
            >>> table.save("people.safetensors")
            >>> sum(len(block) for block in Sampler("people.safetensors", n=10, shards=3).frames(2))
            4
        """
        rows = shard_rows(self.n, self.shards, k)
        # Hashes of k would be equal for some pair of 10,000 shards in 1 % of cases; these numbers all differ.
        seed = (int(np.random.SeedSequence([self.seed, 141592]).generate_state(1)[0]) + k) % 2**32
        return sample_blocks(self.model, rows, given=self.given, seed=seed, **self.options)

    def shard_name(self, k: int) -> str:
        return SHARD.format(k)

    def stamp(self, k: int) -> None:
        return None

    def preview(self, k: int) -> Frame:
        return next(sample_blocks(self.model, range(1), given=self.given, seed=self.seed, **self.options))


@dataclass(frozen=True, kw_only=True)
class RowTask(ShardTask):
    """A question about rows: a table goes in, and the answers come out as a table of the same library.

    `frames(part)` yields the answers to the rows of a file, or of a row group of a Parquet file.
    """

    text: TextOptions = TextOptions()

    @abstractmethod
    def blocks(self, rows: Blocks, name: str, seed: int) -> Iterator[Frame]:
        """Yield the answers to rows called `name` in messages."""

    @property
    def own_seed(self) -> int:
        """The random seed of the task."""
        return check_seed(getattr(self, "seed", 0))

    def __call__(self, data: Any) -> Any:
        frame = self._named(data)
        # Without rows, the answer to an example has the columns of the answers.
        seed, rows = int(fingerprint_of(frame), 16), Blocks.of_frame(frame if len(frame) else self._example())
        parts = [*self.blocks(rows, "the data", self._mix_seed(seed))]
        made = joined(parts, sum(map(len, parts))).take(slice(None if len(frame) else 0))
        native = self._native(made, data)
        return with_index(native, data) if len(made) == len(frame) else native

    def _named(self, data: Any) -> Frame:
        return self.model.schema.named(data) if self.model.kind == "table" else as_frame(data)

    def _example(self) -> Frame:
        columns = dict(as_frame(self.model.example, self.model.columns).columns)
        if self.model.kind == "posterior":
            names = self.model.context.columns
            columns |= as_frame(np.zeros((1, len(names))), names).columns
        return Frame(columns)

    def _native(self, made: Frame, data: Any) -> Any:
        return made.as_kind_of(data)

    def _mix_seed(self, word: int) -> int:
        """Return a random seed of its own for some of the rows."""
        return int(np.random.SeedSequence([self.own_seed, word]).generate_state(1)[0])

    def _read(self, part: FilePart) -> Blocks:
        if isinstance(part, RowGroup):
            return Blocks.of_row_group(part)
        rows = Blocks.of_file(part, self.text.over(self.model.recipe.text).fitting(part))
        if not rows.rows:
            raise DataError(f"'{part}' has no rows; expected at least 1. Remove the file.")
        return rows

    def frames(self, part: FilePart) -> Iterator[Frame]:
        """Yield the answers to the rows of a file or a row group block by block.

        Example:
            >>> from motes.cluster import Scorer
            >>> from motes.data import as_frame, write_frame
            >>> table.save("people.safetensors")
            >>> write_frame("today.csv", as_frame(people))
            >>> [len(block) for block in Scorer("people.safetensors").frames("today.csv")]
            [40]
        """
        seed = self._mix_seed(zlib.crc32(self.shard_name(part).encode()))
        return self.blocks(self._read(part), f"'{part}'", seed)

    def shard_name(self, part: FilePart) -> str:
        if isinstance(part, RowGroup):
            return f"{part.path.stem}-{part.number:05d}{part.path.suffix}"
        return Path(part).name

    def stamp(self, part: FilePart) -> list[int]:
        path = part.path if isinstance(part, RowGroup) else Path(part)
        try:
            found = path.stat()
        except OSError:
            raise DataError(f"'{path}' cannot be read, although it was there when the work began.") from None
        return [found.st_size, found.st_mtime_ns]

    def preview(self, part: FilePart) -> Frame:
        first = next(self._read(part).read()).take(slice(1))
        return next(self.blocks(Blocks.of_frame(first), f"'{part}'", self.own_seed))


@dataclass(frozen=True, kw_only=True)
class Scorer(RowTask):
    """Scores rows: a table goes in, and its log-likelihoods come out, in a column `log_prob`, in nats.

    It can be pickled, so any engine can send it to its workers. Each process loads the model once.

    Attributes:
        model_path: a model file or the folder of a run, which all workers can read.
        orders, laplace: for tables, as in the model's `likelihood`; several orders add a column `spread`.
        label: for points, a class that the model was trained with.
        text: how text files are read, if differently than during training.
        checksum: checksum of the model; a worker that finds another model at `model_path` raises a `ModelFileError`.

    Example:
        >>> import pandas as pd
        >>> from motes.cluster import Scorer
        >>> table.save("people.safetensors")
        >>> Scorer("people.safetensors")(pd.DataFrame({"age": [31, 47], "smoker": ["no", "yes"]})).shape
        (2, 1)
    """

    orders: int = 1
    laplace: bool = False
    label: Any = None

    def blocks(self, rows: Blocks, name: str, seed: int) -> Iterator[Frame]:
        return score_blocks(self.model, rows, name, orders=self.orders, laplace=self.laplace, label=self.label)


@dataclass(frozen=True, kw_only=True)
class Imputer(RowTask):
    """Fills in missing entries: a table goes in, and the same table comes out without missing entries.

    The draws depend on the seed and on the rows that are passed together, so that equal partitions are filled in
    equally on any engine.

    Attributes:
        model_path, text, checksum: as for `Scorer`.
        draws: number of tables, one below the other; several add a column `draw`.
        seed: random seed.

    Example:
        >>> import pandas as pd
        >>> from motes.cluster import Imputer
        >>> table.save("people.safetensors")
        >>> bool(Imputer("people.safetensors")(pd.DataFrame({"age": [31], "smoker": [None]})).notna().all(axis=None))
        True
    """

    draws: int = 1
    seed: int = 0

    def blocks(self, rows: Blocks, name: str, seed: int) -> Iterator[Frame]:
        check_imputing(self.model, self.draws)
        return impute_blocks(self.model, rows, name, draws=self.draws, seed=seed)

    def _native(self, made: Frame, data: Any) -> Any:
        if self.draws > 1:
            return made.as_kind_of(data)
        given = self._named(data).names
        kind = Template.of(data).without(j for j, name in enumerate(given) if name not in made.columns)
        return made.select([name for name in given if name in made.columns] or made.names).like(kind)


@dataclass(frozen=True, kw_only=True)
class Predictor(RowTask):
    """Predicts one column of a table: a table goes in, and class probabilities, or mean and quantiles, come out.

    Attributes:
        model_path, text, checksum: as for `Scorer`.
        column: the column to predict from the others; the rows may lack it.
        quantiles, draws: for numbers and dates, as in `TableModel.predict`.
        seed: random seed.

    Example:
        >>> import pandas as pd
        >>> from motes.cluster import Predictor
        >>> table.save("people.safetensors")
        >>> list(Predictor("people.safetensors", column="smoker")(pd.DataFrame({"age": [31, 47]})))
        ['label', 'p(no)', 'p(yes)']
    """

    column: str
    quantiles: Sequence[float] = QUANTILES
    draws: int = DRAWS
    seed: int = 0

    def blocks(self, rows: Blocks, name: str, seed: int) -> Iterator[Frame]:
        model, column = self.model, self.column
        known = rows.each(lambda frame: rows_without(model.schema, frame, column, name))
        return predict_blocks(model.orders, known, column, self.quantiles, self.draws, seed, silent, name)


# --- The folder of shards -------------------------------------------------------------------------------------------


def write_shard(task: ShardTask, folder: str | Path, item: Any) -> Path:
    """Write one shard into a folder unless it is already there and complete, and return the path of its file.

    If it fails, it is tried again, up to two times.

    Args:
        task: a `Sampler`, or a `Scorer`, `Imputer` or `Predictor`.
        folder: the folder.
        item: the number of the shard for a `Sampler`, otherwise the path of the file to read.

    Raises:
        UsageError, DataError: if there is no such shard, or the conditions or the file do not fit the model; if the
            file changes while it is read.
        ModelFileError: if the model cannot be loaded, or differs from the task's.
        MotesError: if it failed three times, for example because the disk is full.

    Example:
        >>> from motes.cluster import Sampler, write_shard
        >>> table.save("people.safetensors")
        >>> write_shard(Sampler("people.safetensors", n=10, shards=3), ".", 2).name
        'shard-00002.parquet'
    """
    path, attempt = Path(folder) / task.shard_name(item), 0
    _record_of(path).parent.mkdir(exist_ok=True)
    while find_problem(path):
        stamp, rows, ignored = task.stamp(item), 0, 0
        try:
            with writing(path) as write:
                for frame in task.frames(item):
                    write(frame)
                    rows, ignored = rows + len(frame), ignored + getattr(frame, "ignored", 0)
                if task.stamp(item) != stamp:
                    raise DataError(f"'{item}' changed while it was read. Repeat the call once it no longer changes.")
            size, sha256 = path.stat().st_size, _sha256(path)
            record = {"rows": rows, "ignored": ignored, "bytes": size, "sha256": sha256, "input": stamp}
            _write_json(_record_of(path), record)
        except MotesError:
            raise  # an error of motes is the same each time
        except Exception as error:
            if (attempt := attempt + 1) == ATTEMPTS:
                what = f"{type(error).__name__}: {error}".rstrip(".")
                raise MotesError(f"{path.name} failed {ATTEMPTS} times: {what}. {CONTINUE}") from error
    return path


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a complete shard: its rows, impossible entries, size, checksum, and the stamp of its input.

    Raises:
        OSError, ValueError: if there is none, or it is damaged.
    """
    return dict(json.loads(_record_of(path).read_text()))


def find_problem(path: Path, *, thorough: bool = False) -> str:
    """Return what is wrong with a shard, "" if it is complete; its checksum is only verified if `thorough`."""
    try:
        record = read_record(path)
        if path.stat().st_size != record["bytes"]:
            return "incomplete"
        return "corrupt" if thorough and _sha256(path) != record["sha256"] else ""
    except FileNotFoundError:
        return "incomplete" if path.is_file() else "missing"
    except (ValueError, LookupError, TypeError):
        return "its record is damaged"


def _record_of(path: Path) -> Path:
    """Return the path of the record of a shard."""
    return path.parent / ABOUT / f"{path.name}.json"


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
    """Read the manifest of a folder of shards; its key "names" has the names of all shards.

    Raises:
        UsageError: if the folder has none.
        DataError: if it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"'{folder}' has no {MANIFEST}; expected a folder from `motes sample RUN --shards N --out`.")
    try:
        found = dict(json.loads(path.read_text()))
        names = found.get("files") or [SHARD.format(k) for k in range(found["shards"])]
        if not names or not all(Path(name).name == name and Path(name).suffix for name in names):
            raise ValueError("no files, or files outside the folder")
    except (ValueError, TypeError, LookupError, RecursionError):
        raise DataError(f"'{path}' is damaged. Write the shards into another folder.") from None
    return found | {"names": names}


def _check_folder(folder: Path, call: dict[str, Any], preview: Callable[[], Frame]) -> None:
    """Write the manifest of a new folder, or check that it describes the same call.

    `preview` checks the options, and returns a row.

    Raises:
        UsageError: if the folder is a file, contains other files, or has another manifest.
    """
    if folder.is_file():
        raise UsageError(f"'{folder}' is a file; expected a folder for the shards.")
    others = sorted(path.name for path in folder.glob("[!._]*"))  # listed first: other processes may start now, too
    if not (folder / MANIFEST).is_file():
        if others:
            raise UsageError(f"'{folder}' contains other files, such as {others[0]}; expected a new or empty folder.")
        call = call | {"columns": preview().names}
        (folder / ABOUT).mkdir(parents=True, exist_ok=True)
        _write_json(folder / MANIFEST, call)
    found = read_manifest(folder)
    if changed := sorted({*call.get("files", ())} ^ {*(found.get("files") or ())}):
        here = "new" if changed[0] in call.get("files", ()) else "gone"
        raise UsageError(
            f"'{changed[0]}' is {here} since the shards in '{folder}' were begun ({len(changed):,} such files in all). "
            "Restore the files, or choose another folder for the shards."
        )
    texts = lambda found: {key: json.dumps(found.get(key), default=_as_json, sort_keys=True) for key in call}
    there, ours = texts(found), texts(call)  # as texts, in which NaN is equal to NaN
    if different := [
        f"{key} {there[key][:60]} there, {ours[key][:60]} here" for key in call if there[key] != ours[key]
    ]:
        raise UsageError(f"'{folder}' contains shards of another call: {'; '.join(different)}. Choose another folder.")


def write_shards(
    task: ShardTask,
    source: Any = None,
    *,
    out: str | Path,
    shard: int | None = None,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Write all shards of a task into a folder, and return the paths of their files.

    Complete shards in the folder are kept. A shard that fails is tried again, up to two times. On Ctrl-C, waiting
    shards are cancelled and running ones are finished. The same call continues.

    Args:
        task: a `Sampler`, or a `Scorer`, `Imputer` or `Predictor`, with a model that the executor's workers can read.
        source: for a `Scorer`, `Imputer` or `Predictor`: the rows, as a folder, a pattern or a list of files. Each file
            becomes a shard with the same name. Of a single Parquet file, each row group becomes a shard.
        out: the folder; it is created if necessary. With an executor, all its workers must be able to write to it.
        shard: write only this shard, as a task of a job array does; files are numbered from 0 in the order of names.
        executor: any `concurrent.futures.Executor` whose workers do not fork this process; None: this process.
        on_progress: called with the number of complete shards.

    Raises:
        UsageError: for a folder with other contents, options that do not fit the model, or other files than before.
        DataError: if a file does not fit the model, or has changed since its shard was written.
        MotesError: if a shard failed three times, or the executor failed.
        KeyboardInterrupt: after Ctrl-C; it says how many shards are complete.

    Example:
        >>> from motes.cluster import Scorer, write_shards
        >>> from motes.data import as_frame, write_frame
        >>> table.save("people.safetensors")
        >>> write_frame("today.csv", as_frame(people))
        >>> [path.name for path in write_shards(Scorer("people.safetensors"), ["today.csv"], out="scores")]
        ['today.csv']
    """
    folder, about = Path(out), {"format": FORMAT, "motes": version("motes"), **task._describe()}
    items: Sequence[Any]
    if isinstance(task, Sampler):
        items = range(task.shards)
    else:
        items = parts_of(source)
        about["files"] = [task.shard_name(item) for item in items]
        if len({*about["files"]}) < len(items):
            raise UsageError("two of these files have the same name; expected a name of its own for each shard.")
    if shard is not None and not 0 <= shard < len(items):
        raise UsageError(f"got shard {shard}; expected a number from 0 to {len(items) - 1}.")
    _check_folder(folder, about, lambda: task.preview(items[0]))
    if not (folder / MODEL).is_file():
        with replacing(folder / MODEL) as temporary:
            shutil.copyfile(model_path(task.model_path), temporary)
    local = replace(task, model_path=(folder / MODEL).absolute())
    if local.checksum != task.checksum:
        raise ModelFileError(f"'{folder / MODEL}' is not the model of the manifest. Delete it and repeat the call.")
    paths = {item: folder / task.shard_name(item) for item in (items if shard is None else items[shard : shard + 1])}
    missing = [item for item, path in paths.items() if find_problem(path)]
    complete = paths.keys() - {*missing}
    for item in paths:
        if item in complete and read_record(paths[item])["input"] != task.stamp(item):
            raise DataError(
                f"'{item}' has changed since '{paths[item]}' was written. Delete this shard to write it again, or "
                "choose another folder."
            )

    def so_far() -> str:
        count = sum(not find_problem(path) for path in paths.values())
        return f"{count:,} of {len(paths):,} shards are complete. {CONTINUE}"

    jobs = [partial(write_shard, local, folder.absolute(), item) for item in missing]
    with nullcontext(executor) if executor else ThreadPoolExecutor(1) as engine:  # Ctrl-C does not interrupt a thread
        run_jobs(jobs, engine, total=len(paths), so_far=so_far, on_progress=on_progress)
    if shard is None:
        for suffix in {path.suffix for path in paths.values()}:
            for rest in unfinished(folder / f"*{suffix}"):  # of processes that were killed
                rest.unlink(missing_ok=True)
    return list(paths.values())


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
    """Write `n` synthetic rows into a folder, as shards, and return the paths of their files; see `write_shards`.

    Args:
        model: a model, a model file, or the folder of a run.
        n: number of rows of all shards together.
        shards: number of shards. The best size is a million rows or so per shard.
        out, shard, executor, on_progress: as in `write_shards`.
        seed: random seed.
        given: conditions, as in the model's `sample`.
        options: other options of the model's `sample`.

    Raises:
        UsageError: for more shards than rows, a folder with other contents, or conditions that do not fit the model.
        MotesError: if a shard failed three times, or the executor failed.
        KeyboardInterrupt: after Ctrl-C; it says how many shards are complete.

    Example:
        >>> from motes.cluster import sample_shards
        >>> [path.name for path in sample_shards(table, 10, shards=2, out="people")]
        ['shard-00000.parquet', 'shard-00001.parquet']
    """
    shard_rows(n, shards, 0)
    with TemporaryDirectory() as kept:
        if isinstance(model, Model):
            model.save(Path(kept) / "model")
            model = Path(kept) / "model"
        task = Sampler(model, n=n, shards=shards, seed=seed, given=given, options=options)
        return write_shards(task, out=out, shard=shard, executor=executor, on_progress=on_progress)


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
    names = manifest["names"]
    for done, name in enumerate(names, 1):
        problems[name] = find_problem(folder / name, thorough=True)
        on_progress(Progress(done, len(names)))
    return {name: problem for name, problem in problems.items() if problem}
