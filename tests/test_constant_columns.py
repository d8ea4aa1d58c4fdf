"""Constant columns of points are kept aside: the model is that of the other columns to the bit, and gives them back."""

import numpy as np
import pandas as pd
import pytest

import motes
from motes.errors import DataError, UsageError
from motes.explorer.subjects import open_subject
from motes.plots.chains import ModelView

pytestmark = pytest.mark.brief

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 2))
SEEN = X + 0.1 * RNG.normal(size=X.shape)
WITH = pd.DataFrame({"a": X[:, 0], "c": 0.3, "b": X[:, 1]})
WITHOUT = WITH[["a", "b"]]
OTHER = WITH[:2].assign(c=[0.3, 0.4])
FEW = {"training.steps": 2, "network.members": 1, "network.width": 16, "network.depth": 1, "grid.steps": 4}


def fitted(rows, recipe=None, **options):
    return motes.fit(rows, recipe, changes=FEW, verbose=False, **options)


@pytest.fixture(scope="module")
def points():
    return fitted(WITH, "default"), fitted(WITHOUT, "default")


@pytest.fixture(scope="module", params=["free", "bounded"])
def posteriors(request):
    bounds = {"a": (-9, 9)} if request.param == "bounded" else None
    kept = bounds and bounds | {"c": (0.3, 2)}
    return fitted(WITH, given=SEEN, bounds=kept), fitted(WITHOUT, given=SEEN, bounds=bounds)


def check_given_back(rows, others):
    """They are the rows of the model of the other columns, and the constant one."""
    assert list(rows) == ["a", "c", "b", *others.columns[2:]]
    assert (rows["c"] == 0.3).all()
    pd.testing.assert_frame_equal(rows[others.columns], others, check_exact=True)


def test_points_come_with_the_constant_and_are_scored_without_it(points, tmp_path):
    model, other = points
    assert model.constants == {"c": 0.3} and other.constants == {} and model.dim == 2
    check_given_back(model.sample(5), other.sample(5))
    for place, one in zip(model.chain(5, [0, 4])[1], other.chain(5, [0, 4])[1], strict=True):
        check_given_back(place, one)
    np.testing.assert_array_equal(model.score_samples(WITH[:5]), other.score_samples(WITHOUT[:5]))
    assert np.isfinite(model.score_samples(OTHER)).tolist() == [True, False]
    model.save(tmp_path / "m")
    loaded = motes.load(tmp_path / "m")
    assert loaded.constants == {"c": 0.3}
    np.testing.assert_array_equal(loaded.draw(5), model.draw(5))


def test_conditions_and_missing_entries_of_a_constant_column(points):
    model, other = points
    check_given_back(model.sample(5, given={"c": 0.3}), other.sample(5, given={"a": (None, 1e9)}))
    check_given_back(model.sample(5, given={"c": (0, 1), "a": (0, None)}), other.sample(5, given={"a": (0, None)}))
    for impossible in (4, (0.5, None), (None, 0.2)):
        with pytest.raises(UsageError, match=r"column 'c': got .* expected 0.3, its only value"):
            model.sample(5, given={"c": impossible})
    holes = WITH[:3].copy()
    holes.loc[0, "c"] = holes.loc[1, "a"] = holes.loc[2, "b"] = np.nan
    check_given_back(model.impute(holes), other.impute(holes[["a", "b"]]))
    with pytest.raises(DataError, match=r"row 2, column 'c': got 0\.4; expected 0\.3"):
        model.impute(OTHER)


def test_the_explorer_and_exact_denoisers_of_shapes_say_that_they_take_no_constant_column(points, tmp_path):
    points[0].save(tmp_path / "m.safetensors")
    with pytest.raises(UsageError, match="constant columns: c"):
        open_subject(str(tmp_path / "m.safetensors"), train=motes.fit)
    with pytest.raises(UsageError, match="constant column"):
        motes.truth("moons").oracle(points[0].denoiser.schedule, points[0].standardiser)


@pytest.mark.slow
def test_pictures_and_evaluations_are_of_the_other_columns(points):
    model, _ = points
    assert model.plot(n=20).get_title() == "20 samples"  # of the plane
    assert ModelView(model, [0, 4]).columns == ("a", "b")
    assert "no difference" in str(model.evaluate(WITH)).lower()
    assert model.diagnose(WITH, n=64).split.rows == 60


def test_a_training_goes_on_where_the_constant_is_the_same(points):
    model, _ = points
    longer = model.recipe.changed({"training.steps": 3})
    assert motes.fit(WITH, longer, start=model, verbose=False).constants == {"c": 0.3}
    with pytest.raises(DataError, match=r"row 4, column 'c': got 1; expected 0\.3"):
        motes.fit(WITH.assign(c=[0.3] * 3 + [1.0] + [0.3] * 116), longer, start=model, verbose=False)


@pytest.mark.slow(only=["free"])
def test_posteriors_of_a_constant_parameter(posteriors, tmp_path):
    model, other = posteriors
    assert model.constants == {"c": 0.3}
    for rows, others in zip(model.sample(5, given=SEEN[:2]), other.sample(5, given=SEEN[:2]), strict=True):
        check_given_back(rows, others)
    ours, theirs = (one.sample(5, given=SEEN[:2], iid=True) for one in posteriors)
    assert (ours["c"] == 0.3).all()
    np.testing.assert_allclose(ours[["a", "b"]], theirs, rtol=1e-6)
    ours, theirs = model.score_samples(WITH[:5], given=SEEN[:5]), other.score_samples(WITHOUT[:5], given=SEEN[:5])
    np.testing.assert_array_equal(ours, theirs)
    assert np.isfinite(model.score_samples(OTHER, given=SEEN[:2])).tolist() == [True, False]
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(motes.load(tmp_path / "m").draw(5, SEEN[0]), model.draw(5, SEEN[0]))


def test_calibration_and_pictures_of_posteriors_are_of_the_others(posteriors):
    model, other = posteriors
    found, expected = motes.calibration(model, WITH, SEEN, draws=9), motes.calibration(other, WITHOUT, SEEN, draws=9)
    assert found.columns == ("a", "b")
    np.testing.assert_array_equal(found.ranks, expected.ranks)
    assert model.evaluate(WITH, given=SEEN).details.columns == ("a", "b")
    assert len(model.plot(given=SEEN[0], truth=X[0:1, [0, 0, 1]][0], n=50).axes) == len(other.plot(given=SEEN[0]).axes)
    with pytest.raises(DataError, match="theta, row 4, column 'c': got 1"):
        motes.calibration(model, WITH.assign(c=[0.3] * 3 + [1.0] + [0.3] * 116), SEEN, draws=9)


def test_any_columns_given_any_others_and_a_constant_one_on_both_sides():
    seen = pd.DataFrame({"u": SEEN[:, 0], "k": 7.0, "v": SEEN[:, 1]})
    model, other = fitted(WITH, "any", given=seen), fitted(WITHOUT, "any", given=seen[["u", "v"]])
    assert model.constants == {"c": 0.3, "k": 7.0}
    for given in ({}, {"u": 0.2}, {"u": (0.2, None)}):
        ours, theirs = model.draw(5, given or {"k": 7.0}), other.draw(5, given or {"u": (None, 1e9)})
        np.testing.assert_allclose(ours[:, [0, 2, 3, 5]], theirs, rtol=1e-6)
        assert (ours[:, [1, 4]] == [0.3, 7.0]).all()
    rows = WITH.join(seen)[:3]
    few = rows[["a", "b", "u", "v"]]
    np.testing.assert_array_equal(model.score_samples(rows), other.score_samples(few))
    ours, theirs = model.likelihood(rows, given=["u", "k", "v"]), other.likelihood(few, given=["u", "v"])
    np.testing.assert_array_equal(ours.log_prob, theirs.log_prob)
    with pytest.raises(UsageError, match="all columns are given or constant"):
        model.likelihood(rows, given=["a", "b", "u", "v"])


def test_what_is_constant_is_said_and_counts_rows_of_weight_above_0(capsys):
    odd, weights = WITH.assign(c=[1.0] + [0.3] * 119), np.arange(120) > 0
    assert motes.fit(odd, "default", weights=weights, changes=FEW, verbose=True).constants == {"c": 0.3}
    assert "Column 'c' is constant (0.3) and kept aside" in capsys.readouterr().err
    assert [found.name for found in motes.diagnose(WITH[["a", "c"]].to_numpy(), columns=["a", "c"])] == [
        "constant_column"
    ]


@pytest.mark.parametrize("value", [0.0, 0.1 + 0.2, -1e30, 2e9])
def test_what_is_equal_but_for_rounding_is_constant(value):
    rows = np.c_[X[:, 0], np.where(X[:, 1] > 0, value, value * (1 + 2**-52))]
    model = fitted(rows, "default")
    assert [*model.constants] == ["y"] and np.isfinite(model.score_samples(rows)).all()


def test_columns_that_are_all_constant_are_an_error():
    for given in (None, SEEN):
        with pytest.raises(DataError, match="all columns are constant: x, y"):
            fitted(np.ones((120, 2)), "default" if given is None else None, given=given)
