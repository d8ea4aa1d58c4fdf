"""Each planted fault of a trained model is found, and nothing is found where nothing is."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

import motes
from fits import fit_points
from motes.data.points import fingerprint_of, frame_of
from motes.data.tables import Standardiser
from motes.evaluation.diagnosis import (
    Diagnosis,
    ErrorPart,
    ErrorSplit,
    _by_part,
    _memorising,
    _modes,
    diagnose_model,
    undertrained,
    visits,
)
from motes.evaluation.findings import Finding
from motes.evaluation.losses import ExcessLoss, noise_levels
from motes.evaluation.sources import compared_with, read_points
from motes.points.exact import EmpiricalOracle
from motes.points.model import PointModel
from motes.training.checkpoints import FitSession
from motes.training.model import Provenance

N = 2048
PARTS = ("prior", "learning", "discretisation")

pytestmark = pytest.mark.optimised


def trained(source, recipe="default", changes=()):
    """Trained as `motes train` does."""
    chosen = motes.load_recipe(recipe, dict(changes))
    return fit_points(read_points(source, chosen, 0).training, chosen, seed=0, session=FitSession(source=source))


def names(found):
    return [finding.name for finding in found.findings]


@pytest.fixture(scope="module")
def moons():
    return trained("moons")


@pytest.fixture(scope="module")
def diagnosed(moons):
    return diagnose_model(moons, n=N)


@pytest.mark.slow
@pytest.mark.long(but=["moons"])
@pytest.mark.parametrize("shape", motes.data.SHAPES)
def test_nothing_is_wrong_with_the_default_recipe(shape, request):
    found = request.getfixturevalue("diagnosed") if shape == "moons" else diagnose_model(trained(shape), n=N)
    assert names(found) == []
    assert found.notes == []
    assert found.evaluated_against == "a fresh draw"
    assert "No problems detected" in str(found)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["findings"] == [] and list(plain["split"]["parts"]) == list(PARTS)
    assert len(plain["excess"]["noise"]) == len(plain["excess"]["excess"]) == 25


@pytest.mark.long
@pytest.mark.parametrize("shape", ["moons", "rings"])
def test_nothing_is_wrong_with_ddpm(shape):
    assert names(diagnose_model(trained(shape, "ddpm"), n=N)) == []


@pytest.mark.long
def test_the_tutorials_prior_and_its_share_of_the_error():
    found = diagnose_model(trained("moons", "tutorial", {"training.steps": 6000}), n=N)
    assert names(found)[0] == "prior_mismatch"
    assert found.findings[0].value == pytest.approx(0.35, abs=0.05)  # a mean over 2,048 rows
    prior = found.split.parts["prior"]
    assert prior.value > 4 * prior.error
    # By far the largest part, though 6,000 steps in the place of 79,000 leave something unlearned.
    assert all(prior.value > 4 * abs(part.value) for name, part in found.split.parts.items() if name != "prior")
    assert f"{np.sqrt(prior.value):.2g}" in found.findings[0].meaning
    # The others follow from it, are the tutorial's own, or come from 6,000 steps in the place of 79,000.
    assert set(names(found)) <= {"prior_mismatch", "ema_too_short", "misplaced_mass", "undertrained"}


@pytest.mark.slow
def test_who_knows_the_rows_by_heart_is_found(moons):
    recipe = motes.load_recipe(moons.recipe, {"data.rows": 1000})
    rows = read_points("moons", recipe, 0).training
    by_heart = EmpiricalOracle(moons.standardiser.forward(rows.x), moons.denoiser.schedule)
    known = Provenance("moons", fingerprint_of(frame_of(rows)))
    model = PointModel(by_heart, moons.standardiser, moons.columns, recipe, provenance=known)
    found = {finding.name: finding for finding in diagnose_model(model, n=512).findings}
    assert found["memorising"].value > 0.95
    assert "overtrained" in found


@pytest.mark.slow
def test_an_array_has_no_unseen_rows_and_says_so(moons):
    x = read_points("moons", moons.recipe, 0).training.x
    known = Provenance(fingerprint=moons.fingerprint)
    model = PointModel(moons.denoiser, moons.standardiser, moons.columns, moons.recipe, provenance=known)
    found = diagnose_model(model, x, n=256)
    assert found.evaluated_against == "the training rows"
    assert "no rows were held out" in found.notes[0]
    other = diagnose_model(moons, motes.make_shape("moons", 3000, seed=9), n=256)
    assert other.evaluated_against == "rows of the data"
    assert "not available" in other.notes[0] or "no rows" in other.notes[0]
    with pytest.raises(motes.errors.UsageError, match=r"rows in memory\. Pass them, as in model\.evaluate\(rows\)"):
        diagnose_model(model)


@pytest.mark.slow
def test_misplaced_mass_follows_from_where_the_error_is():
    model = untaught({})
    origin = read_points("eight_gaussians", model.recipe, 0)
    samples = origin.real(2000)[0]
    samples = samples[samples[:, 0] > 0]  # three of eight modes, and half of two
    split = lambda part: ErrorSplit(2000, 1.0, 0.01, {name: ErrorPart(0.9 * (name == part), 0.01) for name in PARTS})
    start = Finding("prior_mismatch", 1.0, "", {"schedule.sigma_max": 10.0})
    copies = Finding("duplicate_rows", 0.1, "")

    def found(others, part):
        (finding,) = _modes(model, origin, samples, others, split(part), 0)
        assert finding.name == "misplaced_mass" and finding.value == pytest.approx(3 / 8, abs=0.03)
        return finding

    followed = found([copies, start], "prior")
    assert "See prior_mismatch" in followed.meaning and not followed.fix
    alone = found([copies], "prior")  # more training would not help
    assert "Most of the error comes from prior" in alone.meaning and not alone.fix
    usual = motes.load_recipe()
    twice = f"--set training.steps={2 * usual.training.steps} --set network.width={2 * usual.network.width}"
    assert found([], "learning").fix == twice


@pytest.mark.slow
def test_few_rows_far_off_hide_no_network_that_has_learned_nothing(moons):
    # A learning rate that is far too high leaves weights whose error at some rows is beyond all others.
    excess = found_excess(moons, np.concatenate([np.full(2000, 0.5), [4e5]]))
    assert excess.nats - 3 * excess.nats_error < 0
    (finding,) = undertrained(moons, excess, 0.0, [])
    assert finding.name == "undertrained" and finding.value > 100
    assert list(undertrained(moons, found_excess(moons, np.full(2000, 0.1)), 0.0, [])) == []


def found_excess(model, nats_of_row):
    """An excess loss that is the same at each noise level, and for each row as given."""
    t, noise = noise_levels(model.denoiser.schedule, model.lowest_noise)
    ones = np.ones(len(t))
    return ExcessLoss(t, noise, 2 * ones, ones, ones, 0.1 * ones, nats_of_row)


@pytest.mark.parametrize(
    ("nats", "reference", "says"),
    [
        (
            0.3,
            "the exact denoiser",
            r"loss above the exact denoiser costs at most 0\.3 \(± 0\.001\) nats per row, mostly at",
        ),
        (0.3, "a mixture", r"loss above a mixture costs 0\.3 \(± 0\.001\) nats per row"),
        (-0.3, "a mixture", r"loss is 0\.3 \(± 0\.001\) nats per row below the loss of a mixture\."),
    ],
)
def test_it_says_what_the_loss_costs(nats, reference, says):
    rows = nats + 0.03 * np.resize([1.0, -1.0], 900)  # with a standard error of 0.001
    split = ErrorSplit(900, 0.011, 0.001, {"prior": ErrorPart(0.01, 0.0001), "learning": ErrorPart(0.0, 0.0001)})
    found = Diagnosis("moons", "a fresh draw", [], found_excess(untaught({}), rows), reference, split, ["One note."])
    text = str(found)
    assert re.search(says, text) and text.endswith("One note.")
    bars = dict(re.findall(r"^(two real draws|prior|learning) .*?(█*)$", text, re.MULTILINE))
    assert {name: len(bar) for name, bar in bars.items()} == {"two real draws": 3, "prior": 27, "learning": 0}


CAUSES = {
    "wrong_times": ({"times.mean": 3.0, "times.std": 0.2}, {"times.mean", "times.std"}),
    "too_few_steps": ({"training.steps": 300}, {"training.steps"}),
    "learning_rate_too_low": ({"training.learning_rate": 1e-4}, {"training.learning_rate"}),
    "learning_rate_too_high": ({"training.learning_rate": 0.1}, {"training.learning_rate"}),
    "network_too_small": ({"network.width": 8, "network.depth": 2}, {"network.width", "network.depth"}),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_a_network_has_not_learned_has_the_cause_that_the_recipe_shows(cause):
    changes, keys = CAUSES[cause]
    model = untaught(changes)
    (finding,) = undertrained(model, found_excess(model, np.full(500, 1.0)), 0.0, [])
    mended = [change.split("=") for change in finding.fix.removeprefix("--set ").split(" --set ")]
    assert finding.name == cause and {key for key, _ in mended} == keys
    again = untaught(motes.load_recipe(model.recipe, ["=".join(change) for change in mended]))
    (then,) = undertrained(again, found_excess(again, np.full(500, 1.0)), 0.0, [])
    assert then.name == "undertrained"  # nothing of the recipe is to blame any more: more training of a larger network
    steps = 2 * motes.load_recipe("default").training.steps
    assert then.fix == f"--set training.steps={steps} --set network.width=96"


def untaught(recipe):
    """A model whose network has not been trained."""
    recipe = motes.load_recipe("default", recipe) if isinstance(recipe, dict) else recipe
    denoiser = recipe.make_denoiser(2, jax.random.key(0))
    return PointModel(denoiser, Standardiser.fit(motes.make_shape("moons", 500)), ("x", "y"), recipe)


@pytest.mark.slow
def test_two_causes_are_undone_together_and_follow_from_what_was_found_before():
    model = untaught({"training.steps": 300, "network.width": 4})
    (finding,) = undertrained(model, found_excess(model, np.full(500, 1.0)), 0.0, [])
    assert finding.name == "too_few_steps"
    usual = motes.load_recipe()
    assert finding.fix == f"--set training.steps={usual.training.steps} --set network.width={usual.network.width}"
    model, long = (untaught({"training.ema": 0.99999}), Finding("ema_too_long", 25.0, "Long.", {"training.ema": 0.998}))
    (finding,) = undertrained(model, found_excess(model, np.full(500, 1.0)), 0.0, [long])
    assert finding.name == "undertrained" and "See ema_too_long" in finding.meaning and not finding.fix


def test_visits_of_a_noise_level_are_those_of_the_density():
    from scipy.stats import norm

    recipe = motes.load_recipe("default")
    noise = np.geomspace(0.004, 10, 25)
    found, log_noise = visits(recipe, noise), np.log(noise)
    edges = np.concatenate([log_noise - np.diff(log_noise)[0] / 2, [log_noise[-1] + np.diff(log_noise)[0] / 2]])
    shares = np.diff(norm(-1.8, 1.5).cdf(edges))
    shares[-1] += norm(-1.8, 1.5).sf(edges[-1])  # beyond the last level there is none
    exact = shares / np.diff(edges) * (edges[-1] - edges[0])
    np.testing.assert_allclose(found, exact, atol=2 * 25 / 4096)
    uniform = motes.load_recipe("ddpm", {"times.kind": "steps"})
    assert visits(uniform, np.exp(-np.asarray(uniform.make_schedule().log_snr(np.arange(1, 101) / 100)) / 2)).min() > 0


def test_findings_are_in_the_order_of_the_parts_of_the_error():
    parts = {"prior": ErrorPart(0.1, 0.01), "learning": ErrorPart(0.3, 0.01), "discretisation": ErrorPart(0.5, 0.4)}
    split = ErrorSplit(100, 1.0, 0.1, parts)
    found = [Finding(name, 1.0, "") for name in ("coarse_grid", "prior_mismatch", "wrong_times", "duplicate_rows")]
    order = [finding.name for finding in _by_part(found, split)]
    # 0.5 +- 0.4 may be nothing.
    assert order == ["duplicate_rows", "wrong_times", "prior_mismatch", "coarse_grid"]
    doubtful = replace(split, doubts=("why not.",))
    two = [found[0], found[1]]
    assert _by_part(two, doubtful) == two
    # Steps through noise levels that the network does not know may be wild, whatever the grid.
    wild = replace(split, parts=parts | {"discretisation": ErrorPart(9e5, 1.0)})
    for one in (wild, doubtful):
        assert [finding.name for finding in _by_part(found[:3], one)][1:] in (
            ["prior_mismatch", "coarse_grid"], ["wrong_times", "coarse_grid"],
        )  # fmt: skip
    assert _by_part(two, wild)[0].name == "coarse_grid"


def test_memorising_is_looked_for_among_the_samples_that_are_finite(small_model):
    origin, real, _ = compared_with(small_model, "moons", 64)
    copies = origin.training.x[:50]
    (found,) = _memorising(small_model, origin, copies, real)
    (again,) = _memorising(small_model, origin, np.vstack([copies, [[np.nan, 0.0], [1.0, np.inf]]]), real)
    assert again == found and found.name == "memorising"
    assert not list(_memorising(small_model, origin, np.full((3, 2), np.nan), real))
