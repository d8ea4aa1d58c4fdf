"""Is a posterior calibrated? Under exact ones the tests have their size, and each kind of error is found and named."""

import numpy as np
import pandas as pd
import pytest
from tests.conftest import SMALL
from tests.reference import Z

import motes
from motes.errors import DataError, UsageError
from motes.evaluation.posteriors import Calibration, calibration_of
from motes.plots.curves import rank_curves

NAMES = ("a", "b")


def correlated(noise, correlation):
    second = correlation * noise[..., 0] + np.sqrt(1 - correlation**2) * noise[..., 1]
    return np.stack([noise[..., 0], second], axis=-1)


def exact(rng, m, draws=49, *, scale=1.0, shift=0.0, correlation=0.0, true=0.0, prior=False):
    """theta ~ N(0, 1), x = theta + N(0, 1): theta | x ~ N(x / 2, 1 / 2), and draws of something like it.

    Both columns are correlated by `true`, and those of the draws by `correlation`.
    """
    theta = correlated(rng.normal(size=(m, 2)), true)
    x = theta + correlated(rng.normal(size=(m, 2)), true)
    noise = correlated(rng.normal(size=(m, draws, 2)), correlation)
    drawn = noise if prior else x[:, None] / 2 + np.sqrt(0.5) * (scale * noise + shift)
    return calibration_of(NAMES, theta, drawn, x, rng)


def alarms(repeats, m, draws, **wrong):
    """The share of repeats in which something is found; no interval of a width stands next to a contrary verdict."""
    found = [exact(np.random.default_rng([9, i]), m, draws, **wrong) for i in range(repeats)]
    for one in found:
        for name, width in zip(one.names, one.widths, strict=True):
            assert one.verdicts[f"width of {name}"].differs == (not width.low <= 1 <= width.high)
    return np.mean([not one.calibrated for one in found])


@pytest.mark.long
def test_under_exact_posteriors_the_tests_have_their_size_and_intervals_their_coverage():
    rng, repeats = np.random.default_rng(1), 400
    found = [exact(rng, 60) for _ in range(repeats)]
    p = np.array([one.p_values for one in found])  # (repeats, 3)
    for level in (0.05, 0.2):
        error = np.sqrt(level * (1 - level) / repeats)
        assert (np.abs((p < level).mean(axis=0) - level) < Z * error).all()
    assert np.mean([not one.calibrated for one in found]) < 0.025 + Z * np.sqrt(0.025 / repeats)
    ranks = np.concatenate([one.ranks for one in found])
    counts = np.stack([np.bincount(column, minlength=50) for column in ranks.T])
    expected = len(ranks) / 50
    assert np.abs(counts - expected).max() < (Z + 1) * np.sqrt(expected)
    holds = np.mean([[width.low < 1 < width.high for width in one.widths] for one in found])
    assert abs(holds - 1 + 0.025 / 6) < Z * np.sqrt(0.025 / 6 / repeats)  # of 6 tests
    p = np.array([[width.p_value for width in one.widths] for one in found])
    for level in (0.05, 0.2):
        assert (np.abs((p < level).mean(axis=0) - level) < Z * np.sqrt(level * (1 - level) / repeats)).all()
    whole = Calibration(NAMES, ranks, 49, found[0].widths, found[0].p_values)
    for level in (0.5, 0.9):
        for one in whole.coverage(level).values():
            assert abs(one - level) < Z * np.sqrt(level * (1 - level) / len(ranks))


@pytest.mark.slow
def test_posteriors_a_tenth_too_narrow_or_too_wide_are_found_and_right_ones_pass():
    # Issue 36: at most 5 % of 200 right ones. At a level of 2.5 % more of them come once in 80 seeds.
    assert alarms(200, 500, 99) <= 0.05
    # Measured on 1,000 others: 0.967 and 0.892; at these less comes once in 200,000 seeds.
    assert alarms(200, 500, 99, scale=0.9) >= 0.9
    assert alarms(200, 500, 99, scale=1.1) >= 0.75
    assert alarms(20, 500, 99, prior=True) == 1


@pytest.mark.long
def test_false_alarms_are_as_rare_as_is_said():
    # 3 standard errors: 1 seed in 700 fails. Also where posteriors are correlated, and with few draws of many columns.
    for m, draws, more in ((500, 99, {}), (500, 99, {"correlation": 0.8, "true": 0.8}), (60, 9, {})):
        assert alarms(2000, m, draws, **more) < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000), (m, draws, more)


def test_no_interval_of_a_width_stands_next_to_a_contrary_verdict():
    assert alarms(15, 500, 99) <= 3 / 15  # 0.025 each: more in 1 of 2,300 seeds
    for wrong in ({"scale": 0.85}, {"scale": 1.2}, {"prior": True}):
        assert alarms(5, 500, 99, **wrong) >= 4 / 5


def test_the_joint_width_finds_what_is_a_little_wrong_in_all_columns():
    # Measured on 100 others: by the joint width in 98, by that of some column in 72.
    rng = np.random.default_rng(7)
    theta = rng.normal(size=(250, 5))
    x = theta + rng.normal(size=theta.shape)
    drawn = x[:, None] / 2 + np.sqrt(0.5) * 0.9 * rng.normal(size=(250, 99, 5))
    found = calibration_of(tuple("abcde"), theta, drawn, x, rng)
    joint = found.widths[-1]
    assert len(found.widths) == 6 and joint.high < 1 and abs(joint - 0.9) < 3 * 0.9 / np.sqrt(2 * 250 * 5)
    assert "the joint posterior of all columns is" in found.findings[-1] and "too narrow" in found.findings[-1]
    assert "all columns" in str(found) and found.to_dict()["widths"]["all columns"]["value"] == float(joint)


def test_the_joint_width_is_that_of_the_whole_posterior_in_any_units():
    # Draws of another scale for each row, strongly correlated, one column a copy of another: still uniform places.
    rng = np.random.default_rng(8)
    root = np.linalg.cholesky(np.array([[1.0, 0.95], [0.95, 1.0]])).T
    both = np.exp(rng.normal(size=(2000, 1, 1))) * (rng.normal(size=(2000, 50, 2)) @ root)
    both = both * np.array([1e6, 1e-6])
    found = calibration_of(NAMES, both[:, 0], both[:, 1:], both[:, 0], np.random.default_rng(0))
    assert found.widths[-1].low < 1 < found.widths[-1].high  # fails for 1 seed in 240
    copied = both[..., [0, 0]]
    assert calibration_of(NAMES, copied[:, 0], copied[:, 1:], copied[:, 0], np.random.default_rng(0)).widths[-1] > 0.5


def test_posteriors_that_do_not_depend_on_x_are_found():
    found = exact(np.random.default_rng(4), 300, prior=True)
    assert found.findings == [
        "the joint posterior of all columns is miscalibrated. Train for more steps, training.steps, or on more "
        "simulations."
    ]
    # Not only where theta is linear in x: here no line says anything about theta.
    rng = np.random.default_rng(5)
    theta = rng.normal(size=(300, 1))
    x = theta**2 + 0.1 * rng.normal(size=theta.shape)
    drawn = rng.normal(size=(300, 49, 1))
    assert calibration_of(("a",), theta, drawn, x, rng).p_value < 1e-6


def test_a_few_far_misses_do_not_move_the_width():
    rng = np.random.default_rng(6)
    theta, drawn = rng.normal(size=(1000, 1)), rng.normal(size=(1000, 49, 1))
    theta[:5] = 1000.0
    (width,) = calibration_of(("a",), theta, drawn, rng.normal(size=(1000, 1)), rng).widths
    assert abs(width - 1) < 0.1  # the standard error is 0.022; by squared errors it would be 0.01


@pytest.mark.parametrize(
    ("error", "says", "width"),
    [
        ({"scale": 0.8}, r"posteriors of 'a' are (1[5-9]|2[0-5])% too narrow \(over-confident\)\. Train on more", 0.8),
        ({"scale": 1.4}, r"posteriors of 'a' are (3\d|4\d|5\d)% too wide \(under-confident\)\. Train for", 1.4),
        ({"shift": 0.35}, "posteriors of 'a' are", None),
        ({"correlation": 0.9}, r"the joint posterior of all columns is \d+% too narrow \(over-confident\)", None),
        ({"true": 0.9}, r"the joint posterior of all columns is", None),
    ],
)
def test_each_kind_of_error_is_found_and_named(error, says, width):
    import re

    found = exact(np.random.default_rng(2), 2000, **error)
    assert not found.calibrated and any(re.search(says, one) for one in found.findings), found.findings
    if width is not None:
        assert all(abs(one - width) < 0.1 for one in found.widths)
    assert found.findings[0] in str(found) and "90% holds" in str(found)
    assert found.to_dict()["findings"] == found.findings
    worst = min(found.verdicts, key=lambda name: found.verdicts[name].p_value)
    assert "all columns" in worst or not {"correlation", "true"} & error.keys()
    parts = {name.partition(" of ")[2] for name, one in found.verdicts.items() if one.differs}
    assert len(found.findings) == len(parts)


def test_too_narrow_posteriors_hold_the_truth_too_rarely():
    narrow, wide = (exact(np.random.default_rng(3), 2000, scale=scale).coverage(0.9) for scale in (0.6, 1.6))
    assert narrow["a"].high < 0.9 < wide["a"].low


def test_ranks_count_the_draws_below_and_share_ties():
    theta = np.random.default_rng(1).normal(size=(900, 2))
    drawn = theta[:, None] + np.array([[-1.0, 0.0], [1.0, 0.0], [2.0, 9.0]])
    found = calibration_of(NAMES, theta, drawn, theta, np.random.default_rng(0))
    assert (found.ranks[:, 0] == 1).all()
    counts = np.bincount(found.ranks[:, 1])
    assert len(counts) == 3 and np.abs(counts - 300).max() < Z * np.sqrt(300)


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(300, 2))
    return motes.fit(theta, given=theta + rng.normal(size=(300, 2)), changes=SMALL, verbose=False)


@pytest.mark.slow
def test_a_model_is_asked_for_draws_of_each_row(posterior):
    rng = np.random.default_rng(5)
    theta = rng.normal(size=(60, 2))
    x = theta + rng.normal(size=(60, 2))
    found = motes.calibration(posterior, theta, x, draws=19, seed=3)
    drawn = posterior.sample(19, given=x, seed=3)
    np.testing.assert_array_equal(found.ranks[:, :2], (drawn < theta[:, None]).sum(axis=1))
    frame = pd.DataFrame(theta, columns=["x", "y"])
    again = motes.calibration(posterior, frame, pd.DataFrame(x, columns=["given0", "given1"]), draws=19, seed=3)
    np.testing.assert_array_equal(again.ranks, found.ranks)
    assert (found.p_value, repr(found)) == (again.p_value, repr(again))


@pytest.mark.slow
def test_misuse_is_told(posterior, small_model):
    theta = np.random.default_rng(5).normal(size=(60, 2))
    for model, rows, x, error, says in [
        (small_model, theta, theta, UsageError, "has no conditions"),
        (posterior, theta[:20], theta[:20], UsageError, "got 20 simulations; expected at least 50"),
        (posterior, theta[:59], theta, DataError, r"theta has shape \(59, 2\); expected \(60, 2\)"),
        (posterior, np.where(theta == theta[3, 1], np.nan, theta), theta, DataError, "not a finite number"),
        (posterior, theta, theta[:, :1], UsageError, r"shape \(60, 1\); expected \(2,\)"),
    ]:
        with pytest.raises(error, match=says):
            motes.calibration(model, rows, x)
    with pytest.raises(ValueError, match="level = 1"):
        motes.calibration(posterior, theta, theta, draws=9).coverage(1)


def test_the_figure_shows_shares_less_places_within_their_band():
    ax = rank_curves({"a": [0, 0, 3, 1]}, draws=3)
    zero, curve = ax.get_lines()
    np.testing.assert_allclose(curve.get_xdata(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.get_ydata(), [0, 0.25, 0.25, 0, 0])
    assert zero.get_ydata() == [0.0, 0.0]
    for names in ("ab", "abcdefgh"):
        ax = rank_curves(dict.fromkeys(names, [0] * 50 + [1, 3, 3]), draws=3)
        ax.figure.draw_without_rendering()
        names_from = ax.get_legend().get_window_extent().y0
        drawn = [ax.patches[0].get_window_extent().y1, *(curve.get_window_extent().y1 for curve in ax.get_lines())]
        assert names_from > max(drawn)
    curves = rank_curves({str(j): [0, 3] for j in range(25)}, draws=3).get_lines()[1:]
    assert len({(curve.get_color(), curve.get_linestyle()) for curve in curves}) == 25  # each can be told
