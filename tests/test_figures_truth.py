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

from motes import plots

RNG = np.random.default_rng(0)
STYLES = ["dark", "light"]
NOISE = np.geomspace(0.02, 20, 12)
LEAST = 0.2 + 0.5 / (1 + NOISE)
LOSS = LEAST + 0.1 * np.exp(-(np.log(NOISE) ** 2)) + 0.01
PARTS = {"prior": 0.001, "learning": 0.006, "discretisation": -0.0015}
REAL, TOTAL = 0.002, 0.0075
X, Y = np.linspace(-4, 4, 41), np.linspace(-5, 5, 61)
POINT = np.stack(np.meshgrid(X, Y, indexing="ij"), axis=-1)  # (41, 61, 2)
LOG_P = -0.5 * (POINT**2).sum(axis=-1) - np.log(2 * np.pi)  # of a standard normal
EXACT = -POINT * [1.0, 3.0]
LEARNED = 1.2 * EXACT + 0.5


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


def texts(ax):
    return [text.get_text() for text in ax.texts]


def named(ax):
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def everything_is_inside(figure):
    """No text, tick or colour bar is cut off by the edge of the page."""
    figure.draw_without_rendering()
    tight, page = figure.get_tightbbox(), figure.bbox_inches
    return tight.x0 >= -0.01 and tight.y0 >= -0.01 and tight.x1 <= page.x1 + 0.01 and tight.y1 <= page.y1 + 0.01


def no_text_covers_another(ax):
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    return not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# ---- the excess


@pytest.mark.parametrize("style", STYLES)
def test_excess_curve_draws_both_losses_by_rising_noise(style):
    shuffled = RNG.permutation(len(NOISE))
    ax = plots.excess_curve(NOISE[shuffled], LOSS[shuffled], LEAST[shuffled], style=style)
    look = plots.STYLES[style]
    drawn = {line.get_color(): line for line in ax.lines if line.get_linewidth() > 1}
    for colour, values in ((look.foreground, LOSS), (look.accent, LEAST)):
        np.testing.assert_array_equal(drawn[colour].get_xdata(), NOISE)
        np.testing.assert_array_equal(drawn[colour].get_ydata(), values)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == r"noise level $\sigma_t/\alpha_t$"  # the caller knows of which unit
    assert named(ax) == ["loss", "irreducible", "excess"]
    assert everything_is_inside(ax.figure)


def test_an_excess_of_its_own_is_a_third_curve_with_its_own_band():
    excess, error = 1e-3 * LOSS, np.full(len(NOISE), 1e-4)
    excess[2] = 0.0  # which no logarithm has: left out, not drawn at the bottom
    ax = plots.excess_curve(NOISE, LOSS, LEAST, excess=excess, error=error, label="the exact denoiser")
    curves = [line for line in ax.lines if line.get_linewidth() > 1 and line.get_linestyle() == "-"]
    drawn = next(line.get_ydata() for line in curves if np.nanmax(line.get_ydata()) < 0.1)
    np.testing.assert_array_equal(drawn, np.where(excess > 0, excess, np.nan))
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] < excess[excess > 0].min() and ax.get_ylim()[1] > LOSS.max()
    assert named(ax) == ["loss", "the exact denoiser", "excess", "95 % interval"]
    band = shaded(ax, plots.STYLES["dark"].accent)
    assert np.isclose(band[:, 1], (excess + 1.96 * error).max()).any()


def shaded(ax, colour):
    """The corners of all areas of that colour."""
    areas = [area for area in ax.collections if np.allclose(area.get_facecolor()[0][:3], to_rgba(colour)[:3])]
    return np.concatenate([np.zeros((0, 2)), *(path.vertices for area in areas for path in area.get_paths())])


def test_what_lies_below_the_least_is_no_excess():
    look = plots.STYLES["dark"]
    below = np.where(NOISE < 0.5, LEAST - 0.05, LOSS)
    ax = plots.excess_curve(NOISE, below, LEAST, label="a bound for memorising")
    assert shaded(ax, look.accent)[:, 0].min() > 0.3
    assert shaded(ax, look.muted)[:, 0].max() < 0.8
    assert named(ax) == ["loss", "a bound for memorising", "excess"]
    assert "excess" not in named(plots.excess_curve(NOISE, LEAST - 0.05, LEAST))


def test_the_band_is_the_95_percent_interval():
    error = RNG.uniform(0.005, 0.02, len(NOISE))
    ax = plots.excess_curve(NOISE, LOSS, LEAST, error=error)
    corners = shaded(ax, plots.STYLES["dark"].foreground)
    for noise, loss, se in zip(NOISE, LOSS, error, strict=True):
        at = corners[np.isclose(corners[:, 0], noise), 1]
        assert (at.min(), at.max()) == pytest.approx((loss - 1.96 * se, loss + 1.96 * se))
    assert "95 % interval" in named(ax)
    assert "95 % interval" not in named(plots.excess_curve(NOISE, LOSS, LEAST))


# ---- the split


def bars(ax):
    """(left, width) of each bar, from top to bottom."""
    return [(patch.get_x(), patch.get_width()) for patch in sorted(ax.patches, key=lambda patch: patch.get_y())]


@pytest.mark.parametrize("style", STYLES)
def test_each_bar_starts_where_the_one_above_it_ended_and_the_last_ends_at_the_total(style):
    ax = plots.error_split(PARTS, reference_value=REAL, style=style)
    real, *parts, total = bars(ax)
    assert real == (0, REAL)
    assert total == (0, TOTAL)
    end = REAL
    for (left, width), value in zip(parts, PARTS.values(), strict=True):
        assert left == pytest.approx(end)
        assert width == pytest.approx(value)
        end += value
    assert end == pytest.approx(sum(total))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["two real draws", *PARTS, "total"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # so the first is on top
    assert ax.get_xlabel() == "squared sliced W2, in variances of the data"


def test_a_bar_that_takes_away_is_hollow():
    ax = plots.error_split(PARTS, reference_value=REAL)
    hollow = [patch.get_width() for patch in ax.patches if patch.get_hatch()]
    assert hollow == [pytest.approx(PARTS["discretisation"])]


def test_values_and_shares_are_those_of_the_bars():
    ax = plots.error_split(PARTS, reference_value=REAL)
    read = [re.fullmatch(r"(−?[\d.]+) · (−?\d+) %", text).groups() for text in texts(ax)]
    values = [float(value.replace("−", "-")) for value, _ in read]
    assert values == [REAL, *PARTS.values(), TOTAL]
    for (_, share), value in zip(read, values, strict=True):
        assert float(share.replace("−", "-")) == pytest.approx(100 * value / TOTAL, abs=0.5)
    none_left = plots.error_split({"a": -0.003}, reference_value=0.002)
    assert texts(none_left) == ["0.002", "−0.003", "−0.001"]  # shares of a negative total would mean nothing


def test_whiskers_end_each_bar_with_its_95_percent_interval():
    error = {"learning": 0.0004, "discretisation": 0.0002, "total": 0.0005}
    ax = plots.error_split(PARTS, reference_value=REAL, error=error)
    rows = ["two real draws", *PARTS, "total"]
    ends = dict(zip(rows, [left + width for left, width in bars(ax)], strict=True))
    drawn = [segment for lines in ax.collections for segment in lines.get_segments()]
    assert [rows[int(segment[0, 1])] for segment in drawn] == list(error)
    for name, segment in zip(error, drawn, strict=True):
        expected = [ends[name] - 1.96 * error[name], ends[name] + 1.96 * error[name]]
        np.testing.assert_allclose(sorted(segment[:, 0]), expected)
    assert "95 %" in ax.get_title("right")


@pytest.mark.parametrize("prior", [0.5, -0.001, -0.4, 1e-7])
def test_every_bar_and_its_text_are_on_the_page(prior):
    parts = {"the prior is not the distribution of x_1": prior, "learning": 0.02}
    ax = plots.error_split(parts, reference_value=0.01, error={"learning": 0.004})
    low, high = ax.get_xlim()
    assert all(low <= min(left, left + width) and max(left, left + width) <= high for left, width in bars(ax))
    assert everything_is_inside(ax.figure)
    assert no_text_covers_another(ax)
    for text, (left, width) in zip(ax.texts, bars(ax), strict=True):
        box = text.get_window_extent()
        assert ax.transData.transform((max(left, left + width), 0))[0] < box.x0 < box.x1 < ax.bbox.x1 + 5


# ---- densities


@pytest.mark.parametrize("style", STYLES)
def test_a_map_goes_from_its_floor_to_its_maximum_and_without_density_is_background(style):
    half = np.where(POINT[..., 0] < 0, -np.inf, LOG_P)
    figure = plots.density_row((X, Y), [LOG_P, half], ["normal", "half"], floor=7, style=style)
    (mesh,), (cut,) = (meshes(ax) for ax in panels(figure))
    np.testing.assert_array_equal(mesh.get_array(), np.asarray(LOG_P.T))
    np.testing.assert_array_equal(mesh.get_coordinates()[:, :, 0], np.broadcast_to(X, (61, 41)))
    np.testing.assert_array_equal(mesh.get_coordinates()[:, :, 1], np.broadcast_to(Y[:, None], (61, 41)))
    assert mesh.get_clim() == pytest.approx((LOG_P.max() - 7, LOG_P.max()))
    assert mesh.get_rasterized()
    assert mesh.cmap(0.0) == pytest.approx(to_rgba(plots.STYLES[style].background), abs=0.01)
    assert cut.norm(cut.get_array()[POINT[..., 0].T < 0]).max() <= 0
    assert panels(figure)[0].get_aspect() == 1


def test_contours_of_pairs_hold_the_shares_of_the_mass():
    """Of a standard normal in the plane the circle of radius sqrt(-2 log(1 - share)): a smoothed sample is near it."""
    x, y = np.random.default_rng(5).normal(size=(2, 40_000))
    figure = plots.pairs({"x": x, "y": y}, contours=(0.9, 0.5))
    (ax,) = [ax for ax in figure.axes if contours(ax)]
    lines = [np.concatenate([path.vertices for path in drawn.get_paths()]) for drawn in contours(ax)]
    for line, share in zip(lines, (0.5, 0.9), strict=True):
        assert np.hypot(*line.T).mean() == pytest.approx(np.sqrt(-2 * np.log(1 - share)), rel=0.05)


def contours(ax):
    return [drawn for drawn in ax.collections if isinstance(drawn, mpl.contour.ContourSet)]


@pytest.mark.parametrize("style", STYLES)
def test_the_maps_of_a_row_share_their_axes_and_one_colour_scale(style):
    maps = [LOG_P, LOG_P - 3, 2 * LOG_P]
    figure = plots.density_row((X, Y), maps, ["a", "b", "c"], style=style)
    axes = panels(figure)
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    for ax, log_p in zip(axes, maps, strict=True):
        np.testing.assert_array_equal(meshes(ax)[0].get_array(), log_p.T)
    top = np.max(maps)
    assert {meshes(ax)[0].get_clim() for ax in axes} == {(top - 12, top)}
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in axes}) == 1
    assert sum(len(ax.child_axes) for ax in axes) == 1  # the one colour bar
    assert everything_is_inside(figure)


@pytest.mark.parametrize(("x", "y"), [(X, X), (X, 0.3 * X), (0.2 * X, X)])
def test_panels_are_of_one_size_and_fill_their_page(x, y):
    figure = plots.density_row((x, y), np.zeros((3, 41, 41)), ["short", "a title that is longer than its panel", "c"])
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


@pytest.mark.parametrize("style", STYLES)
def test_arrows_are_roots_of_the_scores_on_one_scale_in_all_panels(style):
    figure = plots.score_fields((X, Y), LEARNED, EXACT, style=style)
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
    assert everything_is_inside(figure)


def test_the_heat_map_is_the_difference_relative_to_the_exact_field():
    figure = plots.score_fields((X, Y), LEARNED, EXACT)
    (mesh,) = [mesh for ax in panels(figure) for mesh in meshes(ax)]
    assert mesh.axes is panels(figure)[2]
    share = np.linalg.norm(LEARNED - EXACT, axis=-1) / np.sqrt((EXACT**2).sum(axis=-1).mean())
    np.testing.assert_allclose(mesh.get_array()[1:-1, 1:-1], share.T)  # the rim repeats its neighbours
    assert mesh.get_clim() == pytest.approx((0, share.max()))


@pytest.mark.parametrize("style", STYLES)
def test_scores_are_drawn_where_points_are_likely_over_their_density(style):
    # Far out the learned field is far off, and no point ever comes there.
    far = np.linalg.norm(POINT, axis=-1) > 3.9
    learned = np.where(far[..., None], 1000.0, 1.1 * EXACT)
    figure = plots.score_fields((X, Y), learned, EXACT, log_p=LOG_P, style=style)
    one, other, difference = panels(figure)
    for ax in (one, other, difference):
        drawn = arrows(ax)
        radius = np.hypot(drawn.X, drawn.Y)
        assert 3.2 < radius.max() <= np.sqrt(14)  # 7 nats below the density's maximum
    for ax in (one, other):
        (mesh,) = meshes(ax)
        inner = mesh.get_array()[1:-1, 1:-1]
        np.testing.assert_allclose(inner, np.maximum(1 - (LOG_P.max() - LOG_P) / 7, 0).T)
    share = meshes(difference)[0].get_array()[1:-1, 1:-1]
    assert share.max() < 1  # a tenth of |exact|, over its root mean square where points are
    assert not share[np.hypot(*POINT.T) > np.sqrt(14)].any()
    p = np.exp(LOG_P)
    rms = np.sqrt((p * (EXACT**2).sum(axis=-1)).sum() / p.sum())
    at = np.searchsorted(X, 1.0), np.searchsorted(Y, 0.0)
    assert share.T[at] == pytest.approx(0.1 * np.linalg.norm(EXACT[at]) / rms)
    assert everything_is_inside(figure)


@pytest.mark.parametrize("style", STYLES)
def test_a_thin_structure_has_its_arrows_on_it(style):
    x = np.linspace(-1, 1, 129)
    at = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    away = np.linalg.norm(at, axis=-1) - 0.7
    log_p = -0.5 * (away / 0.02) ** 2
    field = -(away / 0.02**2)[..., None] * at / np.linalg.norm(at, axis=-1, keepdims=True).clip(1e-9)
    drawn = arrows(panels(plots.score_fields((x, x), field, field, log_p=log_p, style=style))[0])
    assert len(drawn.X) > 40
    assert np.abs(np.hypot(drawn.X, drawn.Y) - 0.7).max() < 0.02 * np.sqrt(14) + 1e-9


def test_the_small_print_states_the_compression_and_the_largest_score():
    text = plots.score_fields((X, Y), LEARNED, EXACT).get_supxlabel()
    assert "√|score|" in text
    assert float(re.search(r"is ([\d.]+)$", text)[1]) == pytest.approx(
        max(np.linalg.norm(field, axis=-1).max() for field in (LEARNED, EXACT)), rel=5e-3
    )


@pytest.mark.slow(but=["given3-$t$ = 4/100"])
@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"t": 0.37, "noise": 0.5125}, r"$t$ = 0.37,   $\sigma_t/\alpha_t$ = 0.5125"),
        ({"t": np.float32(0.1)}, "$t$ = 0.1"),
        ({"t": 1 / 3}, "$t$ ≈ 0.3333"),
        ({"t": 0.04, "steps": 100}, "$t$ = 4/100"),
    ],
)
def test_the_title_states_the_time_as_it_was_given(given, title):
    figure = plots.score_fields((X, Y), LEARNED, EXACT, heading=plots.time_heading(**given))
    assert figure.get_suptitle() == title
    figure.draw_without_rendering()
    lines = [*figure.texts, *(ax.title for ax in panels(figure)), *(ax.patch for ax in panels(figure))]
    boxes = [line.get_window_extent() for line in lines]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [ax.get_title() for ax in panels(figure)] == ["learned score", "exact score", "difference"]


@pytest.mark.parametrize("n", [5, 21, 100, 201])
def test_the_number_of_arrows_is_legible_on_any_grid(n):
    x = np.linspace(0, 1, n)
    field = np.ones((n, n, 2))
    drawn = arrows(panels(plots.score_fields((x, x), field, field))[0])
    assert len(drawn.X) == n**2 if n < 21 else 17**2 <= len(drawn.X) <= 27**2
    assert drawn.X.min() - 0 == pytest.approx(1 - drawn.X.max(), abs=1.01 / (n - 1))  # as far from both ends


def test_equal_fields_have_no_difference():
    figure = plots.score_fields((X, Y), EXACT, EXACT, log_p=LOG_P)
    assert not arrows(panels(figure)[2]).U.any()
    figure.draw_without_rendering()


# ---- for all of them


def every_figure(style):
    yield plots.excess_curve(NOISE, LOSS, LEAST, style=style)
    yield plots.error_split(PARTS, reference_value=REAL, style=style)
    yield plots.density_row((X, Y), [LOG_P], ["a"], style=style)
    yield plots.score_fields((X, Y), LEARNED, EXACT, style=style)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_figure_is_of_its_style_and_shows_itself_in_a_notebook(style):
    look = plots.STYLES[style]
    for shown in every_figure(style):
        figure = getattr(shown, "figure", shown)
        assert figure.get_facecolor() == to_rgba(look.background)
        assert panels(figure)[0].get_facecolor() == to_rgba(look.background)
        assert shown._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_figures_are_drawn_in_threads():
    """Each with a formula of its own: matplotlib reads them all with one parser, and no cache helps here."""
    shown = []

    def draw(noise):
        shown.append(plots.score_fields((X, Y), LEARNED, EXACT, heading=f"{noise}")._repr_png_())

    threads = [threading.Thread(target=draw, args=(1 + i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(shown)) == 4


def with_nan(values):
    spoiled = np.array(values)
    spoiled.flat[3] = np.nan
    return spoiled


REFUSED = {
    "loss NaN": (lambda: plots.excess_curve(NOISE, with_nan(LOSS), LEAST), "loss is nan at position 3"),
    "least shape": (lambda: plots.excess_curve(NOISE, LOSS, LEAST[1:]), r"least has shape \(11,\)"),
    "no noise": (lambda: plots.excess_curve(NOISE - NOISE[0], LOSS, LEAST), "above 0.*Omit t = 0"),
    "one level": (lambda: plots.excess_curve([1.0], [2.0], [1.0]), "expected at least 2 levels"),
    "error sign": (lambda: plots.excess_curve(NOISE, LOSS, LEAST, error=-LOSS), "standard errors of 0 or more"),
    "no parts": (lambda: plots.error_split({}, reference_value=0), "got parts"),
    "part NaN": (lambda: plots.error_split({"a": np.nan}, reference_value=0), "a is nan"),
    "a part of that name": (
        lambda: plots.error_split({"two real draws": 1}, reference_value=0),
        "names other than",
    ),
    "error of no bar": (
        lambda: plots.error_split(PARTS, reference_value=REAL, error={"priro": 1}),
        "'priro' is 1; expected.* prior",
    ),
    "negative error": (
        lambda: plots.error_split(PARTS, reference_value=REAL, error={"prior": -1}),
        "error of 'prior' is -1",
    ),
    "map shape": (
        lambda: plots.density_row((X, Y), [LOG_P.T], ["a"]),
        r"has shape \(61, 41\); expected \(41, 61\)",
    ),
    "map NaN": (
        lambda: plots.density_row((X, Y), [with_nan(LOG_P)], ["a"]),
        r"maps\[0\] has NaN or .*infinity in 1 of 2501",
    ),
    "map +inf": (lambda: plots.density_row((X, Y), [LOG_P + np.inf], ["a"]), "infinity in 2501 of 2501"),
    "no density": (lambda: plots.density_row((X, Y), [LOG_P - np.inf], ["a"]), r"maps\[0\] is -inf everywhere"),
    "map floor": (lambda: plots.density_row((X, Y), [LOG_P], ["a"], floor=0), "floor is 0"),
    "contours": (lambda: plots.pairs({"x": X, "y": Y}, contours=(50, 90)), "between 0 and 1"),
    "meshgrid": (lambda: plots.density_row((POINT[..., 0], Y), [LOG_P], ["a"]), r"x has shape \(41, 61\).*meshgrid"),
    "one axis": (lambda: plots.density_row(X, [LOG_P], ["a"]), r"grid has 41 parts; expected two"),
    "falling": (lambda: plots.density_row((X, Y[::-1]), [LOG_P], ["a"]), "y does not increase"),
    "no maps": (lambda: plots.density_row((X, Y), [], []), "0 maps"),
    "titles": (lambda: plots.density_row((X, Y), [LOG_P], ["a", "b"]), "1 maps and 2 titles"),
    "second map": (lambda: plots.density_row((X, Y), [LOG_P, with_nan(LOG_P)], ["a", "b"]), r"maps\[1\] has NaN"),
    "learned shape": (lambda: plots.score_fields((X, Y), LOG_P, EXACT), r"learned has shape.*expected \(41, 61, 2\)"),
    "exact NaN": (lambda: plots.score_fields((X, Y), LEARNED, with_nan(EXACT)), "exact has NaN"),
    "score -inf": (lambda: plots.score_fields((X, Y), LEARNED - np.inf, EXACT), "learned has -infinity"),
    "exact 0": (lambda: plots.score_fields((X, Y), LEARNED, 0 * EXACT), "exact is 0 everywhere"),
    "density": (lambda: plots.score_fields((X, Y), LEARNED, EXACT, log_p=[1, 2]), r"log_p has shape \(2,\)"),
    "time": (lambda: plots.time_heading(np.nan), "t is nan"),
    "style": (lambda: plots.error_split(PARTS, reference_value=REAL, style="drak"), "'drak'; expected one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_a_value_error_that_says_what_to_do(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
