"""The zoo: the tutorial's data to the bit, and each shape on its own clean curve."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import make_circles, make_moons, make_s_curve, make_swiss_roll

from motes.data.shapes import SHAPES, make_labelled_shape, make_shape
from motes.errors import UsageError

each = pytest.mark.parametrize("name", SHAPES)
LABELLED = [name for name, shape in SHAPES.items() if shape.classes]
each_labelled = pytest.mark.parametrize("name", LABELLED)
N = 2000


def polar(x):
    return np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])


def same_angle(a, b):
    return np.allclose(np.exp(1j * a), np.exp(1j * b))


# --- the tutorial's three, and circles -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7])
def test_scikit_learns_shapes_are_those_of_the_tutorial_to_the_bit(seed):
    swiss_roll = make_swiss_roll(500, noise=0.1, random_state=seed)[0][:, [0, 2]] / 10.0
    s_curve = make_s_curve(500, noise=0.1, random_state=seed)[0][:, [0, 2]] / 10.0
    moons, moon = make_moons(500, noise=0.1, random_state=seed)
    assert np.array_equal(make_shape("swiss_roll", 500, seed=seed), swiss_roll)
    assert np.array_equal(make_shape("s_curve", 500, seed=seed), s_curve)
    assert np.array_equal(make_shape("moons", 500, seed=seed), moons)
    assert np.array_equal(make_labelled_shape("moons", 500, seed=seed)[1], moon)
    circles, inside = make_circles(500, noise=0.2, factor=0.5, random_state=seed)
    x, labels = make_labelled_shape("circles", 500, seed=seed, noise=0.2)
    assert np.array_equal(x, circles) and np.array_equal(labels, inside)


# --- without noise each shape is its clean curve -------------------------------------------------------------------


def test_a_clean_swiss_roll_winds_with_its_radius():
    radius, angle = polar(10 * make_shape("swiss_roll", N, noise=0))
    assert same_angle(radius, angle)  # (t cos t, t sin t)
    assert 1.5 * np.pi <= radius.min() < radius.max() <= 4.5 * np.pi


def test_a_clean_s_curve_is_two_arcs():
    x, z = 10 * make_shape("s_curve", N, noise=0).T
    assert np.allclose(x**2 + (np.abs(z) - 1) ** 2, 1)
    # Three quarters of a circle above and below: each lacks the quarter on its own side.
    assert not ((x > 1e-9) & (z > 1e-9) & (z < 1 - 1e-9)).any()
    assert not ((x < -1e-9) & (z < -1e-9) & (z > -1 + 1e-9)).any()


def test_clean_moons_are_half_circles_told_apart_by_their_labels():
    x, labels = make_labelled_shape("moons", N, noise=0)
    upper, lower = x[labels == 0], x[labels == 1] - [1, 0.5]
    assert np.allclose(polar(upper)[0], 1)
    assert np.allclose(polar(lower)[0], 1)
    assert (upper[:, 1] > -1e-9).all()
    assert (lower[:, 1] < 1e-9).all()


def test_clean_circles_and_rings_have_the_radius_of_their_label():
    for name, radii in (("circles", [1.0, 0.5]), ("rings", [0.75, 1.5, 2.25, 3.0])):
        x, labels = make_labelled_shape(name, N, noise=0)
        assert np.allclose(polar(x)[0], np.array(radii)[labels])


def test_a_clean_checkerboard_fills_every_second_square():
    x, labels = make_labelled_shape("checkerboard", N)  # its default noise is 0
    assert (np.abs(x) <= 2).all()
    square = np.floor(x).astype(int) + 2
    assert (square.sum(axis=1) % 2 == 0).all()
    # One label a square, and one square a label.
    assert len({(*pair, label) for pair, label in zip(square.tolist(), labels, strict=True)}) == 8
    # Uniform within the squares: a false alarm in 5e5 of two.
    assert all(stats.kstest(column, "uniform").pvalue > 1e-6 for column in (x % 1).T)


CENTRES = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def test_clean_gaussians_are_their_centres():
    x, labels = make_labelled_shape("eight_gaussians", N, noise=0)
    assert np.allclose(x, CENTRES[labels])


def test_a_clean_pinwheel_bends_its_arms_with_the_radius():
    x, labels = make_labelled_shape("pinwheel", N, noise=0)
    radius, angle = polar(x)
    # The radius is N(1, 0.3^2), and negative for one point in 2000: that point lies opposite.
    forwards = angle - labels * 2 * np.pi / 5 - np.exp(radius) / 4
    backwards = angle + np.pi - labels * 2 * np.pi / 5 - np.exp(-radius) / 4
    on_arm = np.isclose(np.cos(forwards), 1)
    assert (on_arm | np.isclose(np.cos(backwards), 1)).all()
    assert on_arm.mean() > 0.99


def test_clean_spirals_are_two_half_turns_apart():
    x, labels = make_labelled_shape("two_spirals", N, noise=0)
    radius, angle = polar(x)
    assert same_angle(angle, 3 * radius + np.pi * labels)
    assert radius.max() <= np.pi


# --- noise and labels ----------------------------------------------------------------------------------------------


def test_noise_is_isotropic_and_of_the_deviation_asked_for():
    for noise in (None, 0.05):
        x, labels = make_labelled_shape("eight_gaussians", N, noise=noise)
        scaled = (x - CENTRES[labels]) / (0.2 if noise is None else noise)
        # Each N(0, 1): a false alarm in 3e5 of three.
        assert all(stats.kstest(column, "norm").pvalue > 1e-6 for column in scaled.T)
        assert abs(np.corrcoef(scaled.T)[0, 1]) < 5 / np.sqrt(N)


@each_labelled
def test_every_class_is_equally_likely(name):
    labels = make_labelled_shape(name, N)[1]
    assert labels.dtype.kind == "i"
    counts = np.bincount(labels, minlength=SHAPES[name].classes)
    assert len(counts) == SHAPES[name].classes
    assert stats.chisquare(counts).pvalue > 1e-6  # a false alarm in 10^5 over the seven shapes


# --- drawing -------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_any_number_of_points_can_be_drawn_and_the_seed_decides_them(name, n):
    x = make_shape(name, n, seed=4)
    assert x.shape == (n, 2) and x.dtype == np.float64 and np.isfinite(x).all()
    assert np.array_equal(x, make_shape(name, n, seed=4)) and not np.array_equal(x, make_shape(name, n, seed=5))
    if name in LABELLED:
        assert np.array_equal(make_labelled_shape(name, n, seed=4)[0], x)


@each
def test_rows_come_in_random_order(name):
    # Both halves have the same mean: a false alarm in 5e5 of two.
    x = make_shape(name, N, seed=1)
    for column in x.T:
        assert stats.ks_2samp(column[: N // 2], column[N // 2 :]).pvalue > 1e-6


def test_an_unknown_shape_suggests_the_nearest_and_lists_all():
    with pytest.raises(UsageError, match=r"unknown shape 'swis_roll'.*Did you mean 'swiss_roll'") as error:
        make_shape("swis_roll", 10)
    assert all(name in str(error.value) for name in SHAPES)


@pytest.mark.parametrize(
    ("n", "options", "says"),
    [
        (0, {}, "n = 0 .*at least 1"),
        (-1, {}, "n = -1 .*at least 1"),
        *((10, {"noise": noise}, "noise = .*expected a finite standard deviation") for noise in (-1, np.nan, np.inf)),
        *((10, {"seed": seed}, "seed = .*expected a whole number") for seed in (-1, 2**32, 0.5)),
    ],
)
@pytest.mark.parametrize("name", ["moons", "rings"])
def test_numbers_out_of_range_are_errors(name, n, options, says):
    with pytest.raises(UsageError, match=says):
        make_shape(name, n, **options)


@pytest.mark.parametrize("name", sorted(set(SHAPES) - set(LABELLED)))
def test_a_shape_without_classes_says_which_have_them(name):
    with pytest.raises(UsageError, match=f"'{name}' has no natural classes") as error:
        make_labelled_shape(name, 10)
    assert all(other in str(error.value) for other in LABELLED)
