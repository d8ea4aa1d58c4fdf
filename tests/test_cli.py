"""The command line, end to end, as a person meets it."""

import ast
import errno
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path
from textwrap import dedent

import jax
import numpy as np
import pytest

import motes
from motes import progress
from motes.cli.folders import ARTEFACTS, FIGURES
from motes.interrupts import uninterrupted
from motes.points.samplers import SAMPLERS

MOTES = [sys.executable, "-c", "from motes.cli import main; main()"]
QUICK = ["--set=training.steps=40", "--set=training.batch=64", "--set=training.ema=0.8", "--set=grid.steps=5"]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, environment):
    """A whole run, from an empty folder: the other tests look at what it left."""
    folder = tmp_path_factory.mktemp("empty")
    done = subprocess.run(
        [*MOTES, "train", "moons", "--out", "runs/demo", "--seed", "3", *QUICK],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "demo", done


@pytest.fixture
def few_samples(monkeypatch):
    """Runs in this process draw and compare few rows, and of the least loss they have a rough idea."""
    monkeypatch.setattr("motes.cli.run.SAMPLES", 300)
    monkeypatch.setattr("motes.evaluation.models.LEAST_LOSS_PAIRS", 1e6)


@pytest.fixture
def small_figures(monkeypatch):
    """Figures and films in this process have few points, frames and cells."""
    from motes.plots import chains as film

    monkeypatch.setattr(film, "FRAMES", 7)
    monkeypatch.setattr(film, "shoot", partial(film.shoot, n=300))
    monkeypatch.setattr("motes.cli.figures.SNAPSHOT_POINTS", 200)
    monkeypatch.setattr("motes.cli.figures.GRID", 24)


@pytest.mark.slow
def test_a_run_leaves_everything_that_is_promised(run_folder):
    out, done = run_folder
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    promised = {*ARTEFACTS, "diffusion.gif", "checkpoints/000000000040.safetensors"}
    assert files == promised | {f"figures/{name}.png" for name in FIGURES}
    assert str(out.relative_to(out.parents[1])) in done.stdout
    assert "sliced_w2" in done.stdout
    # Without a terminal, plain lines tell the progress.
    assert "training: 40/40 steps loss" in done.stderr and "steps/s" in done.stderr and "\x1b" not in done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"train_seconds", "steps", "parameters", "seed", "source", "entries"} <= metrics.keys()
    assert (metrics["steps"], metrics["seed"], metrics["source"]) == (40, 3, "moons")
    assert metrics["parameters"] == motes.load(out / "model.safetensors").parameters
    table = motes.data.read_table(out / "samples.csv")
    assert table.columns == ("x", "y")
    assert table.x.shape == (10_000, 2)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 40
    assert all(np.isfinite(row["loss"]) for row in history)
    # Of a shape the least possible loss is known, and the history shows what is above it.
    assert all(row["excess"] == pytest.approx(row["loss"] - metrics["least_loss"], abs=1e-3) for row in history)
    quick = ["sliced_w2", "c2st", "precision", "recall", "density", "coverage"]
    assert [entry["name"] for entry in metrics["entries"]] == quick
    distance = metrics["entries"][0]
    low, high = distance["chance"]
    assert low is None and (distance["value"] > high) == (distance["severity"] not in ("good", "unknown"))
    # The figures in the file are those of the samples in the file, compared with a draw that is none of the run's own.
    assert distance["value"] == pytest.approx(
        motes.sliced_w2(table.x, motes.make_shape("moons", 10_000, seed=77)), abs=0.05
    )


@pytest.mark.slow
def test_the_recipe_beside_the_model_runs_again_to_the_same_model(run_folder, motes_command, tmp_path):
    out, _ = run_folder
    recipe = tomllib.loads((out / "recipe.toml").read_text())
    assert recipe["training"]["steps"] == 40
    code, _, err = motes_command(
        "train", "moons", "--recipe", out / "recipe.toml", "--seed", 3, "--out", "again", "--no-figures"
    )
    assert code == 0, err
    assert (tmp_path / "again" / "samples.csv").read_bytes() == (out / "samples.csv").read_bytes()
    assert not (tmp_path / "again" / "figures").exists()


@pytest.mark.slow
def test_long_work_says_something_soon_and_then_ever_more_rarely(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SOON", 0.02)
    with progress.Reporter().counting("training", "steps") as count:
        begin = time.perf_counter()
        while time.perf_counter() - begin < 0.5:
            count(progress.Progress(1, 10**9))
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5  # at 0.02, 0.04, ... 0.32 seconds
    assert all(line.startswith("training: 1/1,000,000,000 steps") for line in lines)


def test_a_warning_breaks_between_words_in_a_terminal_and_nowhere_else(capsys, monkeypatch):
    text = " ".join(["Training ends in another distribution than sampling starts from."] * 4)
    monkeypatch.setenv("COLUMNS", "40")
    progress.Reporter().warn(text)
    assert capsys.readouterr().err == f"warning: {text}\n"  # a program that reads it gets one line
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress.Reporter().warn(text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 40
    assert " ".join(line.strip() for line in lines) == f"warning: {text}".strip()


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_programs_are_kept_for_the_next_command(run_folder, tmp_path, user_environment):
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*MOTES, "sample", run_folder[0], "-n", "40", "--out", tmp_path / "rows.csv"],
        env=user_environment | {"TERM": "xterm", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 4096):
            seen += part
    except OSError:
        pass  # the terminal is gone with the process
    assert process.wait() == 0
    assert "sampling" in seen.decode() and "━" in seen.decode() and "40/40" in seen.decode()
    assert any((tmp_path / "cache" / "motes" / "compiled").iterdir())


@pytest.mark.slow
def test_a_run_is_never_overwritten_unasked(run_folder, motes_command, few_samples, tmp_path):
    out, _ = run_folder
    before = (out / "model.safetensors").read_bytes()
    err = motes_command.error("train", "moons", "--out", out, *QUICK)
    assert "--overwrite" in err and "model.safetensors" in err
    assert (out / "model.safetensors").read_bytes() == before
    mine = tmp_path / "mine"
    for number in ("first", "second"):
        (mine / "figures").mkdir(parents=True, exist_ok=True)
        (mine / "notes.txt").write_text("kept")
        code, _, err = motes_command(
            "train", "moons", "--out", mine, "--overwrite", "--no-figures", "-q", *QUICK, f"--seed={len(number)}"
        )
        assert (code, err) == (0, "")
    assert (mine / "notes.txt").read_text() == "kept"


@pytest.mark.slow
def test_without_out_each_run_finds_a_folder_of_its_own(motes_command, few_samples, tmp_path):
    for name in ("moons", "moons-2"):
        out = motes_command.out("train", "moons", "--no-figures", "-q", *QUICK)
        assert f"runs/{name}\n" in out
        assert (tmp_path / "runs" / name / "model.safetensors").exists()
    before = (tmp_path / "runs" / "moons" / "model.safetensors").read_bytes()
    out = motes_command.out("train", "moons", "--overwrite", "--seed", 1, "--no-figures", "-q", *QUICK)
    assert "runs/moons\n" in out
    assert (tmp_path / "runs" / "moons" / "model.safetensors").read_bytes() != before
    assert not (tmp_path / "runs" / "moons-3").exists()


@pytest.mark.slow
def test_sample_writes_files_and_standard_output(run_folder, motes_command, tmp_path):
    model = run_folder[0] / "model.safetensors"
    out = motes_command.out("sample", model, "-n", 7, "--out", "s.csv", "--seed", 5)
    rows = motes.data.read_table(tmp_path / "s.csv").x
    assert np.array_equal(rows, motes.load(model).sample(7, seed=5))
    assert motes_command("sample", model, "-n", 7, "--out", "s.npy", "--seed", 5)[0] == 0
    assert np.array_equal(np.load(tmp_path / "s.npy"), rows)
    out = motes_command.out("sample", run_folder[0], "-n", 7, "--seed", 5)  # the folder stands for its model
    assert out == (tmp_path / "s.csv").read_text()
    assert motes_command("sample", model, "-n", 7, "--seed", 6)[1] != out


@pytest.mark.slow
def test_score_writes_a_log_likelihood_per_row(run_folder, motes_command, tmp_path):
    model = run_folder[0] / "model.safetensors"
    x = motes.make_shape("moons", 30, seed=9)
    # The same names in another order: the header decides.
    motes.data.write_frame(tmp_path / "x.csv", motes.data.as_frame(x[:, ::-1], ["y", "x"]))
    code, out, err = motes_command("score", model, "x.csv", "--out", "s.csv")
    assert code == 0, err
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "log_prob"
    values = np.array(lines[1:], dtype=float)
    np.testing.assert_allclose(values, motes.load(model).score_samples(x), atol=1e-9)
    assert f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(30):.4f} nats" in out
    assert "scoring: 30/30 rows" in err
    (tmp_path / "one.csv").write_text("0.5,0.25\n")
    code, out, err = motes_command("score", model, "one.csv", "--out", "s.npy", "-q")
    assert (code, err) == (0, "")
    assert np.load(tmp_path / "s.npy").shape == (1, 1)
    assert "±" not in out


@pytest.mark.slow
def test_score_draws_a_shape_afresh_and_tells_what_it_cannot_know(run_folder, motes_command, monkeypatch, tmp_path):
    monkeypatch.setattr("motes.cli.answers.SAMPLES", 50)
    monkeypatch.setattr("motes.points.likelihood.HALVINGS", 2)
    out = motes_command.out("score", run_folder[0], "moons", "--out", "s.csv")
    assert "50 rows in s.csv" in out
    (tmp_path / "far.csv").write_text("0,0\n1e200,1\n")
    code, _, err = motes_command("score", run_folder[0], "far.csv", "--out", "s.csv", "--overwrite", "-q")
    assert code == 0
    assert err == "warning: 1 rows are too far from the data to be exact to 0.01 nats.\n"


@pytest.mark.slow
@pytest.mark.usefixtures("small_figures")
def test_plot_writes_the_format_the_resolution_and_the_width_that_are_asked_for(run_folder, motes_command, tmp_path):
    options = ("--out", "pictures", "--format", "pdf", "--size", "4", "--axes", "--style", "light", "-q")
    out = motes_command.out("plot", run_folder[0] / "model.safetensors", *options)
    made = {Path(line).name for line in out.splitlines()}
    assert made == {f"{name}.pdf" for name in FIGURES} | {"diffusion.gif"}  # the loss and the snapshots are of the run
    page = (tmp_path / "pictures" / "figures" / "data.pdf").read_bytes()
    width, height = (float(x) for x in re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", page).groups())
    assert width == pytest.approx(4 * 72)
    assert height == pytest.approx((4 + 0.24) * 72)  # the line of small print


@pytest.mark.slow
def test_shapes_lists_each_with_a_picture(motes_command):
    out = motes_command.out("shapes", "-n", 500)
    blocks = out.strip().split("\n\n")
    assert [block.split(":")[0] for block in blocks] == list(motes.data.SHAPES)
    for block in blocks:
        assert sum("⠀" < char <= "⣿" for char in block) > 20  # braille dots


def test_recipes_are_listed_and_printed(motes_command):
    out = motes_command.out("recipes")
    for name in ("default", "posterior", "any", "table", "ddpm", "tutorial"):
        assert name in out
        assert motes.recipes.parse(tomllib.loads(motes_command.out("recipes", name))) == motes.load_recipe(name)


def test_samplers_are_listed_with_order_price_and_advice(motes_command):
    out = motes_command.out("samplers")
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    for name, kind in SAMPLERS.items():
        assert rows[name].split()[1] == str(kind.order)
        assert kind.when in rows[name]
    assert "2 per step" in rows["heun"]
    assert all(f"grid {grid}" in out for grid in ("uniform", "quadratic", "karras", "log_snr", "given"))
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.slow
def test_version_and_help_are_quick_since_jax_stays_out(environment):
    code = (
        "import sys; from motes import cli; codes = [cli._run(words, False) for words in {lines}]; "
        "print(any(codes) or 'jax' in sys.modules)"
    )
    lines = [["--help"], ["--version"], ["train", "--help"], ["sample", "--help"], ["recipes"]]
    done = subprocess.run(
        [sys.executable, "-c", code.format(lines=lines)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.endswith("False\n"), done.stderr
    done = subprocess.run([*MOTES, "--version"], env=environment, capture_output=True, text=True)
    assert done.stdout == f"motes {motes.__version__}\n"


MISUSES = {
    "no rows": (["sample", "MODEL", "-n", "0"], "at least 1"),
    "time beyond noise": (["diagnose", "MODEL", "--out", "x", "--t", "1.5"], "Must be <= 1"),
    "guidance without classes": (["sample", "MODEL", "--guidance", "2"], "this model has no classes"),
    "a grid without times": (["sample", "MODEL", "--grid", "given"], "needs its times"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_told_on_one_screen(name, motes_command, run_folder, tmp_path):
    words, message = MISUSES[name]
    words = [str(run_folder[0] / "model.safetensors") if word == "MODEL" else word for word in words]
    code, out, err = motes_command(*words)
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) < 20
    assert out == ""
    assert not (tmp_path / "runs").exists()  # nothing was begun


@pytest.mark.slow
def test_evaluate_prints_a_table_and_the_same_as_json(run_folder, motes_command):
    code, table, err = motes_command("evaluate", run_folder[0], "-n", 500)
    assert code == 0, err
    plain = json.loads(motes_command("evaluate", run_folder[0], "-n", 500, "--json")[1])
    assert plain["evaluated_against"] == "a fresh draw"
    assert len(plain["entries"]) == 13  # moons have modes, and an irreducible loss
    for entry in plain["entries"]:
        line = next(line for line in table.splitlines() if line.startswith(entry["name"] + " "))
        assert f"{entry['value']:.4g}" in line and entry["verdict"] in line
        tells = entry["detectable"] is not None and entry["severity"] == "good"
        assert line.endswith(" or more)") == tells
    assert table.splitlines()[2] == plain["headline"]
    assert "sampling: 500/500 rows" in err
    other = json.loads(motes_command("evaluate", run_folder[0], "circles", "-n", 200, "--json", "-q")[1])
    assert other["source"] == "circles"


@pytest.mark.slow
def test_diagnose_prints_findings_and_draws(run_folder, motes_command, small_figures, tmp_path):
    text = motes_command.out("diagnose", run_folder[0], "--out", "look", "-n", 500, "--t", 0.5)
    names = {"diagnosis.json", "excess.png", "error_split.png", "scores.png", "densities.png"}
    assert {path.name for path in (tmp_path / "look").iterdir()} == names
    plain = json.loads(motes_command("diagnose", run_folder[0], "-n", 500, "--json", "-q")[1])
    assert plain == json.loads((tmp_path / "look" / "diagnosis.json").read_text())
    assert "too_few_steps" in {finding["name"] for finding in plain["findings"]}  # 40 of them
    for finding in plain["findings"]:
        assert finding.keys() == {"name", "value", "meaning", "fix"}
        assert finding["name"] in text and finding["meaning"] in text
    assert "Sources of the error" in text
    code, _, err = motes_command("diagnose", run_folder[0], "--out", "look")
    assert code == 2 and "diagnosis.json" in err and "--overwrite" in err


@pytest.mark.slow(but=["motes.cli.run.prepare_rows"])
@pytest.mark.parametrize("phase", ["motes.cli.run.prepare_rows", "motes.cli.run.draw_frame", "motes.cli.run.draw_run"])
def test_ctrl_c_outside_the_training_says_what_is_kept(phase, motes_command, few_samples, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(phase, interrupted)
    code, _, err = motes_command("train", "moons", *QUICK)
    assert code == 130
    assert "interrupted" in err.splitlines()[-1]


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_that_cannot_be_written_to_stderr_are_dropped(motes_command, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    reporter = progress.Reporter()
    with reporter.counting("training", "steps") as count:
        count(progress.Progress(10, 10))
    reporter.warn("no checkpoint")
    assert motes_command("sample", "nowhere")[0] == 2


@pytest.mark.slow
def test_a_full_stderr_is_no_failure(run_folder, environment, tmp_path):
    with open("/dev/full", "w") as full:
        words = [*MOTES, "sample", run_folder[0], "-n", "9", "--out", tmp_path / "rows.csv"]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=full, text=True)
    assert done.returncode == 0 and done.stdout.startswith("9 rows in")


def test_a_folder_that_cannot_be_written_is_told_before_training(motes_command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    err = motes_command.error("train", "moons", "--out", "file/run", *QUICK, code=1)
    assert "file/run" in err and "training" not in err
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):  # root may write anywhere but in the kernel's own folders
        locked = Path("/sys/kernel")
    err = motes_command.error("train", "moons", "--out", locked / "run", *QUICK, code=1)
    assert str(locked) in err and "training" not in err


@pytest.mark.slow
@pytest.mark.parametrize(("room", "kept"), [(20_000, set()), (150_000, {"model.safetensors", "history.jsonl"})])
def test_a_full_disk_is_one_line_and_leaves_no_half_files(room, kept, run_folder, tmp_path, environment):
    # The limit makes the operating system refuse to let a file grow, as a full disk does.
    done = subprocess.run(
        [*MOTES, "train", "moons", "--out", "run", *QUICK],
        cwd=tmp_path,
        # The programs of `run_folder` are read; none is kept, which would be the first file that is too large.
        env=environment | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1000"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr.splitlines()[-1]
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert left == kept | {"recipe.toml"}


def test_import_motes_loads_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import motes; "
        "print({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == {"motes", "lazy_loader"}


PRESS = {
    # Python drops the exceptions of callbacks.
    "in a callback": (
        """
        import gc, os, time
        press = lambda *_: os.kill(os.getpid(), 2)
        gc.callbacks.append(press)
        gc.collect(0)
        gc.callbacks.remove(press)
        for _ in range(500):
            time.sleep(0.01)
        """,
        130,
        ["motes: interrupted"],
    ),
    "at the very end": (
        """
        import os
        class Last:
            def __del__(self, kill=os.kill, process=os.getpid()):
                kill(process, 2)
        last = Last()
        """,
        0,
        [],
    ),
}


@pytest.mark.parametrize("moment", PRESS)
def test_ctrl_c_is_one_line_or_comes_too_late(moment, environment, tmp_path):
    press, code, lines = PRESS[moment]
    (tmp_path / "press.py").write_text(dedent(press))
    done = subprocess.run(
        [*MOTES, "--import", tmp_path / "press.py", "datasets"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert [line.split(".")[0] for line in done.stderr.splitlines()] == lines


def test_ctrl_c_waits_until_modules_are_loaded():
    before, after = signal.getsignal(signal.SIGINT), []

    def load():
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            after.append("loaded")  # which would abort a library of JAX otherwise

    with pytest.raises(KeyboardInterrupt):
        load()
    assert after == ["loaded"]
    assert signal.getsignal(signal.SIGINT) is before
    with uninterrupted():
        pass


# --- compiled programs that stay from one process to the next ---------------------------------------------------------


PROGRAM = """
import sys, jax, motes
print(motes.training.cache_programs(*sys.argv[1:]))
print(float(jax.jit(lambda x: 3 * x)(14.0)))
"""


def cache_in(environment, *words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    folder, answer = done.stdout.split()
    assert float(answer) == 42
    return Path(folder)


def test_the_next_process_finds_the_programs_of_this_one(user_environment, tmp_path):
    folder = tmp_path / "kept"
    assert cache_in(user_environment, folder) == folder
    kept = {path.name for path in folder.iterdir() if not path.name.endswith("-atime")}
    assert kept
    cache_in(user_environment, folder)
    assert {path.name for path in folder.iterdir() if not path.name.endswith("-atime")} == kept


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_does_no_harm(user_environment, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache_in(user_environment, tmp_path / "file" / "kept")
    cache_in(user_environment | {"XDG_CACHE_HOME": str(tmp_path / "file")})  # the cache of the command line
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_cache_of_your_own_stays(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    assert before is not None  # that of the tests
    assert motes.training.cache_programs(tmp_path) == Path(before)
    assert jax.config.values["jax_compilation_cache_dir"] == before
