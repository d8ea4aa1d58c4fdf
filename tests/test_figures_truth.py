"""Figures of what is true: they draw the numbers that they are given, on scales that can be compared."""

import re
import threading
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.quiver import Quiver
from motes.evaluation.diagnosis import ErrorPart, ErrorSplit

from motes import plots
from motes.plots.curves import density_row, error_split, excess_curve, score_fields, time_heading

RNG = np.random.default_rng(0)
STYLES = ["dark", "light"]
NOISE = np.geomspace(0.02, 20, 12)
LEAST = 0.2 + 0.5 / (1 + NOISE)
LOSS = LEAST + 0.1 * np.exp(-(np.log(NOISE) ** 2)) + 0.01
EXCESS, ERROR = 1e-3 * LOSS, np.full(len(NOISE), 1e-4)
PARTS = {"prior": 0.001, "learning": 0.006, "discretisation": 0.0015}
REAL = 0.002
X, Y = np.linspace(-4, 4, 41), np.linspace(-5, 5, 61)
POINT = np.stack(np.meshgrid(X, Y, indexing="ij"), axis=-1)  # (41, 61, 2)
LOG_P = -0.5 * (POINT**2).sum(axis=-1) - np.log(2 * np.pi)  # of a standard normal
EXACT = -POINT * [1.0, 3.0]
LEARNED = 1.2 * EXACT + 0.5
LIKELY = np.sqrt(14)  # radius at which the density is 7 nats below its maximum


@pytest.fixture(autouse=True)
def nothing_global_changes():
    """No figure is left with pyplot and no rcParam is changed by anything that a test calls."""
    before = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def panels(figure):
    return [ax for ax in figure.axes if ax.get_subplotspec() is not None]


def meshes(ax):
    return [drawn for drawn in ax.collections if isinstance(drawn, mpl.collections.QuadMesh)]


def named(ax):
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def everything_is_inside(figure):
    """No text, tick or colour bar is cut off by the edge of the page."""
    figure.draw_without_rendering()
    tight, page = figure.get_tightbbox(), figure.bbox_inches
    return tight.x0 >= -0.01 and tight.y0 >= -0.01 and tight.x1 <= page.x1 + 0.01 and tight.y1 <= page.y1 + 0.01


# ---- the excess


def test_excess_curve_draws_three_curves_by_rising_noise_and_the_band_of_the_excess():
    excess = np.where(np.arange(len(NOISE)) == 2, 0.0, EXCESS)  # 0, which no logarithm has, is left out
    shuffled = RNG.permutation(len(NOISE))
    ax = excess_curve(*(curve[shuffled] for curve in (NOISE, LOSS, LEAST, excess, ERROR)), label="the exact denoiser")
    drawn = {line.get_label(): line for line in ax.lines}
    shown = np.where(excess > 0, excess, np.nan)
    for name, values in (("loss", LOSS), ("the exact denoiser", LEAST), ("excess", shown)):
        np.testing.assert_array_equal(drawn[name].get_xdata(), NOISE)
        np.testing.assert_array_equal(drawn[name].get_ydata(), values)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_ylim()[0] < excess[excess > 0].min() and ax.get_ylim()[1] > LOSS.max()
    assert named(ax) == ["loss", "the exact denoiser", "excess", "95 % interval"]
    band = shaded(ax, plots.STYLES["dark"].accent)
    for noise, value, se in zip(NOISE[3:], EXCESS[3:], ERROR[3:], strict=True):
        ends = band[np.isclose(band[:, 0], noise) & (band[:, 1] < 0.01), 1]
        assert (ends.min(), ends.max()) == pytest.approx((value - 1.96 * se, value + 1.96 * se))
    assert everything_is_inside(ax.figure)


def shaded(ax, colour):
    """The corners of all areas of that colour."""
    areas = [area for area in ax.collections if np.allclose(area.get_facecolor()[0][:3], to_rgba(colour)[:3])]
    return np.concatenate([np.zeros((0, 2)), *(path.vertices for area in areas for path in area.get_paths())])


def test_what_lies_below_the_least_is_grey():
    below = np.where(NOISE < 0.5, LEAST - 0.05, LOSS)
    ax = excess_curve(NOISE, below, LEAST, EXCESS, ERROR, label="a bound for memorising")
    assert 0 < shaded(ax, plots.STYLES["dark"].muted)[:, 0].max() < 0.8


# ---- the split


def bars(ax):
    """(left, width) of each bar, from top to bottom."""
    return [(patch.get_x(), patch.get_width()) for patch in sorted(ax.patches, key=lambda patch: patch.get_y())]


@pytest.mark.parametrize("discretisation", [0.0015, -0.0015])
def test_each_bar_starts_where_the_one_above_it_ended_and_the_last_ends_at_the_total(discretisation):
    parts = PARTS | {"discretisation": discretisation}
    ax = error_split(parts, REAL, {})
    (real, *inner, total), end = bars(ax), REAL
    assert real == (0, REAL)
    for (left, width), value in zip(inner, parts.values(), strict=True):
        assert (left, width) == (pytest.approx(end), pytest.approx(value))
        end += value
    assert total == (0, pytest.approx(end))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["two real draws", *parts, "total"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # so the first is on top
    hollow = [patch.get_width() for patch in ax.patches if patch.get_hatch()]
    assert hollow == [pytest.approx(value) for value in parts.values() if value < 0]


def test_the_figure_and_the_text_show_the_same_numbers_and_no_shares():
    parts = PARTS | {"discretisation": -0.0015}
    total = REAL + sum(parts.values())
    split = ErrorSplit(500, total, REAL, {name: ErrorPart(value, 1e-4) for name, value in parts.items()})
    read = [text.get_text().replace("−", "-") for text in error_split(parts, REAL, {}).texts]
    assert [float(value) for value in read] == pytest.approx([REAL, *parts.values(), total])
    assert "%" not in str(split)


def test_whiskers_end_each_bar_with_its_95_percent_interval():
    error = {"learning": 0.0004, "discretisation": 0.0002}
    ax = error_split(PARTS, REAL, error)
    rows = ["two real draws", *PARTS, "total"]
    ends = dict(zip(rows, [left + width for left, width in bars(ax)], strict=True))
    drawn = [segment for lines in ax.collections for segment in lines.get_segments()]
    assert [rows[int(segment[0, 1])] for segment in drawn] == list(error)
    for name, segment in zip(error, drawn, strict=True):
        expected = [ends[name] - 1.96 * error[name], ends[name] + 1.96 * error[name]]
        np.testing.assert_allclose(sorted(segment[:, 0]), expected)


@pytest.mark.parametrize("prior", [0.5, -0.4])
def test_every_bar_and_its_text_are_on_the_page(prior):
    parts = {"the prior is not the distribution of x_1": prior, "learning": 0.02}
    ax = error_split(parts, 0.01, {"learning": 0.004})
    assert everything_is_inside(ax.figure)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    for box, (left, width) in zip(boxes, bars(ax), strict=True):
        assert ax.transData.transform((max(left, left + width), 0))[0] < box.x0 < box.x1 < ax.bbox.x1 + 5


# ---- densities


@pytest.mark.parametrize("style", STYLES)
def test_maps_of_a_row_share_one_scale_from_the_floor_and_without_density_are_background(style):
    half = np.where(POINT[..., 0] < 0, -np.inf, LOG_P)
    figure = density_row((X, Y), [LOG_P, half, LOG_P - 3], ["a", "b", "c"], floor=7, style=style)
    axes = panels(figure)
    (mesh,), (cut,), (lower,) = (meshes(ax) for ax in axes)
    np.testing.assert_array_equal(mesh.get_array(), LOG_P.T)
    np.testing.assert_array_equal(lower.get_array(), LOG_P.T - 3)
    np.testing.assert_array_equal(mesh.get_coordinates()[:, :, 0], np.broadcast_to(X, (61, 41)))
    np.testing.assert_array_equal(mesh.get_coordinates()[:, :, 1], np.broadcast_to(Y[:, None], (61, 41)))
    assert {one.get_clim() for one in (mesh, cut, lower)} == {(LOG_P.max() - 7, LOG_P.max())}
    assert mesh.cmap(0.0) == pytest.approx(to_rgba(plots.STYLES[style].background), abs=0.01)
    assert cut.norm(cut.get_array()[POINT[..., 0].T < 0]).max() <= 0
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in axes}) == 1
    assert sum(len(ax.child_axes) for ax in axes) == 1  # the one colour bar
    assert everything_is_inside(figure)


@pytest.mark.parametrize(("x", "y"), [(X, 0.3 * X), (0.2 * X, X)])
def test_panels_are_of_one_size_and_fill_their_page(x, y):
    figure = density_row((x, y), np.zeros((3, 41, 41)), ["short", "a title that is longer than its panel", "c"])
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in panels(figure)]
    for box in boxes:
        assert (box.width, box.height) == pytest.approx((boxes[0].width, boxes[0].height))
        assert box.width / box.height == pytest.approx(np.ptp(x) / np.ptp(y))
    titles = [ax.title.get_window_extent() for ax in panels(figure)]
    assert all(left.x1 < right.x0 for left, right in pairwise(titles))
    tight, page = figure.get_tightbbox(), figure.bbox_inches
    assert max(tight.x0, tight.y0, page.x1 - tight.x1, page.y1 - tight.y1) < 0.5  # hardly an empty margin
    assert everything_is_inside(figure)


# ---- scores


def arrows(ax):
    (drawn,) = [drawn for drawn in ax.collections if isinstance(drawn, Quiver)]
    return drawn


def test_arrows_are_roots_of_the_scores_on_one_scale_in_all_panels():
    figure = score_fields((X, Y), LEARNED, EXACT, LOG_P)
    scales = []
    for ax, field in zip(panels(figure), (LEARNED, EXACT, LEARNED - EXACT), strict=True):
        drawn = arrows(ax)
        assert (drawn.angles, drawn.scale_units) == ("xy", "xy")
        i, j = np.searchsorted(X, drawn.X), np.searchsorted(Y, drawn.Y)
        np.testing.assert_array_equal(np.stack([X[i], Y[j]]), np.stack([drawn.X, drawn.Y]))
        score = field[i, j]
        size = np.linalg.norm(score, axis=-1)
        shown = np.stack([drawn.U, drawn.V], axis=-1) / drawn.scale
        direction = score / np.maximum(size, 1e-12)[:, None]
        np.testing.assert_allclose(shown, direction * np.linalg.norm(shown, axis=-1)[:, None], atol=1e-9)
        scales.append((np.linalg.norm(shown, axis=-1) ** 2)[size > 0] / size[size > 0])
    np.testing.assert_allclose(np.concatenate(scales), scales[0][0])
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in panels(figure)}) == 1
    likely = LOG_P.max() - 7 <= LOG_P
    longest = max(np.linalg.norm(field[likely], axis=-1).max() for field in (LEARNED, EXACT))
    assert float(re.search(r"is ([\d.]+)$", figure.get_supxlabel())[1]) == pytest.approx(longest, rel=5e-3)
    assert everything_is_inside(figure)


@pytest.mark.parametrize("style", STYLES)
def test_scores_are_drawn_where_points_are_likely_over_their_density(style):
    # Far out the learned field is far off, and no point ever comes there.
    far = np.linalg.norm(POINT, axis=-1) > 3.9
    learned = np.where(far[..., None], 1000.0, 1.1 * EXACT)
    figure = score_fields((X, Y), learned, EXACT, LOG_P, style=style)
    one, other, difference = panels(figure)
    for ax in (one, other, difference):
        drawn = arrows(ax)
        assert 3.2 < np.hypot(drawn.X, drawn.Y).max() <= LIKELY
    for ax in (one, other):
        (mesh,) = meshes(ax)
        inner = mesh.get_array()[1:-1, 1:-1]  # the rim repeats its neighbours
        np.testing.assert_allclose(inner, np.maximum(1 - (LOG_P.max() - LOG_P) / 7, 0).T)
    share = meshes(difference)[0].get_array()[1:-1, 1:-1]
    assert share.max() < 1  # a tenth of |exact|, over its root mean square where points are
    assert not share[np.hypot(*POINT.T) > LIKELY].any()
    p = np.exp(LOG_P)
    rms = np.sqrt((p * (EXACT**2).sum(axis=-1)).sum() / p.sum())
    at = np.searchsorted(X, 1.0), np.searchsorted(Y, 0.0)
    assert share.T[at] == pytest.approx(0.1 * np.linalg.norm(EXACT[at]) / rms)
    assert everything_is_inside(figure)


def test_a_thin_structure_has_its_arrows_on_it():
    x = np.linspace(-1, 1, 129)
    at = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    away = np.linalg.norm(at, axis=-1) - 0.7
    log_p = -0.5 * (away / 0.02) ** 2
    field = -(away / 0.02**2)[..., None] * at / np.linalg.norm(at, axis=-1, keepdims=True).clip(1e-9)
    drawn = arrows(panels(score_fields((x, x), field, field, log_p))[0])
    assert len(drawn.X) > 40
    assert np.abs(np.hypot(drawn.X, drawn.Y) - 0.7).max() < 0.02 * LIKELY + 1e-9


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"t": 0.37, "steps": None, "noise": 0.5125}, r"$t$ = 0.37,   $\sigma_t/\alpha_t$ = 0.5125"),
        ({"t": np.float32(0.1), "steps": None, "noise": 1 / 3}, r"$t$ = 0.1,   $\sigma_t/\alpha_t$ ≈ 0.3333"),
        ({"t": 0.04, "steps": 100, "noise": 2.0}, r"$t$ = 4/100,   $\sigma_t/\alpha_t$ = 2"),
    ],
)
def test_the_title_states_the_time_as_it_was_given(given, title):
    assert time_heading(**given) == title


@pytest.mark.parametrize("n", [5, 21, 100, 201])
def test_the_number_of_arrows_is_legible_on_any_grid(n):
    x = np.linspace(0, 1, n)
    field = np.ones((n, n, 2))
    drawn = arrows(panels(score_fields((x, x), field, field, np.zeros((n, n))))[0])
    assert len(drawn.X) == n**2 if n < 21 else 17**2 <= len(drawn.X) <= 27**2
    assert drawn.X.min() - 0 == pytest.approx(1 - drawn.X.max(), abs=1.01 / (n - 1))  # as far from both ends


def test_equal_fields_have_no_difference():
    figure = score_fields((X, Y), EXACT, EXACT, LOG_P)
    assert not arrows(panels(figure)[2]).U.any()
    figure.draw_without_rendering()


@pytest.mark.slow
def test_figures_are_drawn_in_threads():
    """Each with a formula of its own: matplotlib reads them all with one parser, and no cache helps here."""
    shown = []

    def draw(noise):
        shown.append(score_fields((X, Y), LEARNED, EXACT, LOG_P, heading=f"{noise}")._repr_png_())

    threads = [threading.Thread(target=draw, args=(1 + i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(shown)) == 4
