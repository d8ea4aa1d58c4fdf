"""Figures say the truth: titles state the time that is drawn, panels share a box, a film's file holds the film."""

import re
import subprocess
import sys
import threading
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.quiver import Quiver
from PIL import Image

from motes import plots, rasters
from motes.evaluation.diagnosis import ErrorPart, ErrorSplit
from motes.plots import View
from motes.plots.curves import density_row, error_split, excess_curve, score_fields, time_heading
from motes.plots.film import draw_caption

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(500, 2))
T = 8
TIMES = np.arange(T + 1) / T
FORWARD = [np.sqrt(1 - t) * (CLOUD * 0.2 + 1) + np.sqrt(t) * RNG.normal(size=CLOUD.shape) for t in TIMES]


@pytest.fixture(autouse=True)
def nothing_global_changes():
    """No figure is left with pyplot and no rcParam is changed by anything that a test calls."""
    before = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def film(**options):
    options = {"size": 200, "hold": 3} | options
    return list(plots.frames(FORWARD, TIMES, FORWARD[::-1], TIMES[::-1], **options))


def boxes(figure):
    return [(*ax.get_xlim(), *ax.get_ylim()) for ax in figure.axes]


def offsets(ax):
    return np.concatenate([np.asarray(drawn.get_offsets()) for drawn in ax.collections])


def sorted_rows(x):
    return x[np.lexsort(np.asarray(x).T)]


# ---- points


@pytest.mark.parametrize("n", [1, 2, 20_000])
def test_scatter_draws_every_point_once(n):
    x = np.random.default_rng(n).normal(size=(n, 2))
    ax = plots.scatter(x)
    np.testing.assert_array_equal(sorted_rows(offsets(ax)), sorted_rows(x))
    assert all(drawn.get_rasterized() for drawn in ax.collections)
    assert ax.get_aspect() == 1


def test_scatter_uses_and_returns_the_axes_it_is_given():
    figure, (left, right) = plt.subplots(1, 2)
    assert plots.scatter(CLOUD, ax=right, title="here") is right
    assert right.get_title() == "here"
    assert len(right.collections) == 1
    assert len(left.collections) == 0
    figure.canvas.draw()
    plt.close(figure)


def test_each_class_has_one_colour_and_a_line_in_the_legend():
    labels = np.repeat(["b", "a", "c"], [100, 150, 250])
    ax = plots.scatter(CLOUD, labels=labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    (drawn,) = ax.collections
    label_at = {tuple(point): label for point, label in zip(CLOUD, labels, strict=True)}
    drawn_as = {label: set() for label in labels}
    for point, colour in zip(np.asarray(drawn.get_offsets()), drawn.get_facecolors(), strict=True):
        drawn_as[label_at[tuple(point)]].add(tuple(colour))
    assert [len(colours) for colours in drawn_as.values()] == [1, 1, 1]
    assert len(set.union(*drawn_as.values())) == 3


def test_any_number_of_classes_gets_its_own_colour():
    ax = plots.scatter(CLOUD, labels=np.arange(500) % 40)
    assert len(np.unique(ax.collections[0].get_facecolors(), axis=0)) == 40


def test_columns_name_the_axes_and_each_axis_fits_its_own_unit():
    ax = plots.scatter(CLOUD * [1, 10_000], columns=("age", "income"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("age", "income")
    for low, high, column in ((*ax.get_xlim(), 0), (*ax.get_ylim(), 1)):
        reach = np.ptp(CLOUD[:, column]) * (1, 10_000)[column]
        assert 0.5 * reach < high - low < 1.5 * reach


@pytest.mark.parametrize("n", [25, 10_000])
def test_one_outlier_does_not_blow_up_the_box(n):
    x = np.random.default_rng(1).normal(size=(n, 2))
    clean = np.diff(plots.limits_of(x))
    x[0] = 1e6
    assert np.all(np.diff(plots.limits_of(x)) < 1.5 * clean)
    (_, high), _ = plots.limits_of(x, robust=0)
    assert high >= 1e6


def test_the_box_is_square_and_holds_bounded_clouds_whole():
    first, second = RNG.uniform(-1, 1, size=(2, 300, 2))
    second = second * [3, 0.1] + [5, 0]
    (x_low, x_high), (y_low, y_high) = plots.limits_of(first, second)
    assert x_high - x_low == pytest.approx(y_high - y_low)
    both = np.concatenate([first, second])
    assert (both > [x_low, y_low]).all()
    assert (both < [x_high, y_high]).all()


@pytest.mark.parametrize("x", [[[3.0, 4.0]], [[1e9, 1], [1e9, 1]], [[0, 0], [1, 0]]])
def test_the_box_has_an_inside_even_around_one_point(x):
    for low, high in plots.limits_of(x):
        assert low < high
    plots.scatter(x).figure.canvas.draw()


# ---- styles, axes, sizes

POINT_FIGURES = {
    "scatter": lambda style: plots.scatter(CLOUD, style=style).figure,
    "row": lambda style: plots.row(FORWARD[:3], TIMES[:3], view=View(note="a note"), style=style),
    "sheet": lambda style: plots.sheet({"a": CLOUD, "b": CLOUD}, style=style),
    "comparison": lambda style: plots.comparison(CLOUD, FORWARD[1], style=style),
}


def cut_off(figure):
    """How far what is drawn reaches beyond the edge of the page, in inches."""
    figure.draw_without_rendering()
    tight, page = figure.get_tightbbox(), figure.bbox_inches
    return max(-tight.x0, -tight.y0, tight.x1 - page.x1, tight.y1 - page.y1)


@pytest.mark.slow(only=["20.0-comparison", "20.0-row"])
@pytest.mark.parametrize("name", POINT_FIGURES)
@pytest.mark.parametrize("width", [3.5, 20.0])
def test_a_figure_of_another_width_keeps_its_proportions_and_all_its_texts(name, width):
    figure = POINT_FIGURES[name]("light")
    wide, tall = figure.get_size_inches()
    plots.resize(figure, width)
    assert figure.get_size_inches() == pytest.approx((width, tall * width / wide))
    assert cut_off(figure) < 0.02
    assert min(text.get_fontsize() for text in figure.findobj(mpl.text.Text)) > 2


def test_the_fonts_of_a_figure_do_not_depend_on_rc_params():
    points = np.random.default_rng(0).normal(size=(50, 2))
    with mpl.rc_context({"font.family": "serif", "font.size": 20}):
        figure = plots.comparison(points, points + 0.1, style="light")
        figure.draw_without_rendering()
    written = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    assert {text.get_fontfamily()[0] for text in written} == {"DejaVu Sans"}


@pytest.mark.parametrize("style", ["dark", "light"])
def test_all_text_gets_the_font_that_is_set(style):
    figure = plots.comparison(*(np.random.default_rng(seed).normal(size=(50, 2)) for seed in (0, 1)), style=style)
    plots.set_font(figure, "serif", 7.5)
    figure.draw_without_rendering()
    written = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    assert {(*text.get_fontfamily(), text.get_fontsize()) for text in written} == {("serif", 7.5)}


@pytest.mark.parametrize("name", POINT_FIGURES)
def test_a_footnote_stands_below_all_that_there_is(name):
    figure = POINT_FIGURES[name]("light")
    plots.footnote(figure, "moons, 500 points", "light")
    figure.draw_without_rendering()
    (written,) = [text for text in figure.texts if text.get_text() == "moons, 500 points"]
    top = written.get_window_extent().y1
    others = [text for text in figure.texts if text is not written]
    assert all(text.get_window_extent().y0 > top - 2 for text in others)
    assert all(ax.get_tightbbox().y0 > top for ax in figure.axes)
    assert cut_off(figure) < 0.01


# ---- a comparison


@pytest.mark.parametrize("style", ["dark", "light"])
def test_a_comparison_shows_both_sets_and_where_they_differ(style):
    look = plots.STYLES[style]
    real, synthetic = RNG.uniform(size=(20_000, 2)), RNG.uniform(size=(10_000, 2)) * [0.5, 1] + [0.5, 0]
    figure = plots.comparison(real, synthetic, style=style)
    left, middle, right = figure.axes
    assert left.get_title() == "20,000 real points"
    assert middle.get_title() == "10,000 synthetic points"
    for ax, points in ((left, real), (middle, synthetic)):
        np.testing.assert_array_equal(sorted_rows(offsets(ax)), sorted_rows(points))
    assert len(set(boxes(figure))) == 1
    (image,) = right.images
    share = np.asarray(image.get_array())
    edges = np.linspace(*right.get_xlim(), share.shape[1] + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    inside = slice(20, 60)  # rows away from the edges of the square
    assert share[inside, (middles > 0.1) & (middles < 0.4)].max() < -0.5  # no synthetic point: minus its density
    assert share[inside, (middles > 0.6) & (middles < 0.9)].min() > 0.3
    low, high = image.cmap(0.0), image.cmap(1.0)
    assert mpl.colors.to_hex(low) == look.real
    assert mpl.colors.to_hex(high) == look.synthetic
    assert mpl.colors.to_hex(image.cmap(0.5)) == look.background
    assert image.get_clim()[0] == -image.get_clim()[1]
    assert cut_off(figure) < 0.02


def test_two_draws_of_one_distribution_differ_by_as_much_as_chance_does():
    draws = [np.random.default_rng(seed).normal(size=(4000, 2)) for seed in (1, 2)]
    figure = plots.comparison(*draws, limits=(-4, 4))
    (label,) = [beside.get_ylabel() for beside in figure.axes[2].child_axes]
    chance = float(re.search(r"\(± ([\d.]+) expected by chance\)$", label)[1])
    share = np.asarray(figure.axes[2].images[0].get_array())
    assert 0.7 * chance < np.abs(share).max() < 1.6 * chance
    low, high = figure.axes[2].images[0].get_clim()
    assert -low == high and 1.4 * chance < high < 1.7 * chance  # chance is pale, and what is beyond it is seen


def test_the_key_of_contours_lies_beside_the_title_and_not_on_it():
    columns = {"theta1": CLOUD[:, 0], "theta2": CLOUD[:, 1]}
    figure = plots.pairs(columns, contours=(0.5, 0.9), title="2,000 draws given an observation")
    figure.draw_without_rendering()
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["50 % of the rows", "90 % of the rows"]
    boxes = [key.get_window_extent(), *(text.get_window_extent() for text in figure.texts if text.get_text())]
    assert not boxes[0].overlaps(boxes[1])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_labels_that_are_not_shown_are_counted_and_get_no_bar():
    labels = np.array([f"label {k}" for k in range(1000)] + ["common"] * 100, object)
    figure = plots.marginals({"label": labels}, {"label": labels})
    (ax,) = figure.axes
    assert len(ax.get_yticks()) == 8
    (note,) = ax.texts
    assert note.get_text() == "8 of 1,001 labels:\n10% synthetic, 10% real"


# ---- rows and grids


@pytest.mark.parametrize(("process", "symbol"), [("forward", "q(x_t)"), ("reverse", r"p_\theta(x_t)")])
@pytest.mark.parametrize("n", [3, 9])
def test_row_titles_state_the_times_that_are_drawn(process, symbol, n):
    times = TIMES[:n][:: 1 if process == "forward" else -1]
    figure = plots.row(FORWARD[:n], times, process=process)
    for ax, t, cloud in zip(figure.axes, times, FORWARD[:n], strict=True):
        assert symbol in ax.get_title()
        assert float(re.search(r"t = ([\d.]+)$", ax.get_title())[1]) == pytest.approx(t, rel=5e-3)
        np.testing.assert_array_equal(sorted_rows(offsets(ax)), sorted_rows(cloud))


def test_row_titles_count_the_steps_of_a_discrete_schedule():
    figure = plots.row(FORWARD, TIMES.astype(np.float32), view=View(steps=T))
    read = [re.search(r"t = (\d+)/(\d+)$", ax.get_title()).groups() for ax in figure.axes]
    assert [(int(k), int(of)) for k, of in read] == [(k, T) for k in range(T + 1)]


def test_grid_says_its_times_above_and_its_training_steps_beside():
    titles = ["step 400 (epoch 5)", "step 4000 (epoch 50)"]
    figure = plots.grid(dict(zip(titles, (FORWARD[:3], FORWARD[3:6]), strict=True)), TIMES[2::-1], view=View(steps=T))
    assert [ax.get_title().split("= ")[1] for ax in figure.axes[:3]] == ["2/8", "1/8", "0/8"]
    assert [" ".join(ax.get_ylabel().split()) for ax in figure.axes] == [titles[0], "", "", titles[1], "", ""]


def test_titles_do_not_run_into_each_other():
    figure = plots.row([CLOUD] * 10, np.linspace(1, 0.1, 10), process="reverse", view=View(steps=10))
    figure.draw_without_rendering()
    extents = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for line in (extents[:5], extents[5:]) for left, right in pairwise(line))
    panels = sum(ax.get_window_extent().width * ax.get_window_extent().height for ax in figure.axes)
    assert panels > 0.6 * figure.bbox.width * figure.bbox.height  # ten panels in one line filled a third
    assert min(box.x0 for box in extents) >= 0
    assert max(box.x1 for box in extents) <= figure.bbox.x1
    assert max(box.y1 for box in extents) <= figure.bbox.y1


def test_sheet_names_its_panels_and_gives_each_its_own_box():
    figure = plots.sheet({"small": CLOUD, "large": (CLOUD * 100, np.arange(500) % 2)})
    assert [ax.get_title() for ax in figure.axes] == ["small", "large"]
    small, large = (box[1] - box[0] for box in boxes(figure))
    assert large == pytest.approx(100 * small)


def test_what_is_returned_shows_itself_in_a_notebook():
    for shown in (plots.scatter(CLOUD), plots.row([CLOUD], [0.5]), plots.loss_curve([1, 2], [2, 1])):
        assert shown._repr_png_().startswith(b"\x89PNG")


# ---- curves


def test_loss_curve_draws_the_running_mean_and_the_floor():
    steps, loss = np.arange(1, 1001), RNG.gamma(4, size=1000)
    ax = plots.loss_curve(steps, loss, best=0.25, window=10)
    mean = next(line for line in ax.lines if line.get_color() == plots.STYLES["dark"].foreground)
    for step in (10, 500, 1000):
        (i,) = np.flatnonzero(mean.get_xdata() == step)
        assert mean.get_ydata()[i] == pytest.approx(loss[step - 10 : step].mean())
    assert any(np.all(np.asarray(line.get_ydata()) == 0.25) for line in ax.lines)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training rows", "irreducible loss 0.25"]
    assert ax.get_xlabel() == "training step"
    assert ax.get_ylabel() == "loss, mean of 10 steps"


def test_many_values_are_no_block_behind_their_mean():
    steps, loss = np.arange(1, 79_001), RNG.gamma(4, size=79_000)
    faint, mean = plots.loss_curve(steps, loss, window=1975).lines[:2]
    parts = np.split(loss, np.linspace(0, 79_000, 401).round().astype(int)[1:-1])
    np.testing.assert_allclose(faint.get_ydata(), [part.mean() for part in parts])
    assert faint.get_xdata()[-1] == 79_000
    assert len(mean.get_xdata()) > 70_000
    windows = plots.loss_curve(steps[199::200], loss.reshape(-1, 200).mean(axis=1), window=10)
    assert windows.get_ylabel() == "loss, mean of 2,000 steps"  # as many as the values stand for


def test_the_loss_axis_is_logarithmic_where_the_range_warrants_it():
    steps = np.arange(100)
    assert plots.loss_curve(steps, 10.0 ** -np.linspace(0, 3, 100)).get_yscale() == "log"
    assert plots.loss_curve(steps, np.linspace(1, 0.5, 100)).get_yscale() == "linear"
    assert plots.loss_curve(steps, np.linspace(1, -50, 100)).get_yscale() == "linear"


def test_schedule_curves_draw_both_scales_and_the_log_snr():
    t = np.linspace(0, 1, 51)
    alpha, sigma = np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)
    ax = plots.schedule_curves(t, alpha, sigma)
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    np.testing.assert_array_equal(drawn, [alpha, sigma])
    (twin,) = (other for other in ax.figure.axes if other is not ax)
    log_snr = np.asarray(twin.lines[0].get_ydata())
    np.testing.assert_allclose(np.exp(log_snr[1:-1]), (alpha[1:-1] / sigma[1:-1]) ** 2)
    assert np.isnan(log_snr[0])  # no noise: infinite, so not drawn
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [r"$\alpha_t$", r"$\sigma_t$", "log-SNR"]


# ---- film


def test_film_holds_both_ends_and_shows_everything_between():
    shown = film(hold=3)
    assert len(shown) == 3 + len(FORWARD) + len(FORWARD) + 3
    assert all(frame.shape == (200, 200, 3) and frame.dtype == np.uint8 for frame in shown)
    for held in (shown[:4], shown[-4:]):
        assert all(np.array_equal(frame, held[0]) for frame in held)
    assert not np.array_equal(shown[3], shown[4])


def brightness(frame):
    """How far each pixel above the caption is from the background."""
    return abs(frame[:170].astype(int) - frame[0, 0].astype(int)).sum(axis=2)


@pytest.mark.parametrize("size", [200, 480, 960])
def test_the_time_line_of_a_film_is_thin_and_brighter_up_to_now(size):
    caption = draw_caption(size, plots.STYLES["dark"], "reverse", 0.5, "0.5").astype(int)
    ink = np.abs(caption - caption[0, 0]).sum(axis=-1)[round(0.06 * size) : round(0.12 * size)]
    before, after = (ink[:, round(x * size)] for x in (0.2, 0.8))
    assert before.sum() > 1.3 * after.sum() > 0
    assert 1 <= (before > 60).sum() <= size / 100


@pytest.mark.parametrize("style", ["dark", "light"])
def test_the_first_frame_is_x0(style):
    """Checked by a raster of its own: every point lies in light, and the light is where the points are."""
    x0 = RNG.uniform(-1, 1, size=(300, 2)) * [1, 0.3] + [0.5, 0.5]
    first = next(plots.frames([x0, CLOUD], [0, 1], [CLOUD], [1], view=View((-2, 2)), size=200, style=style))
    light = brightness(first)
    rows = _picture_height(200)
    scale = rows / 4  # pixels a unit: the box of 4 by 4 fills the height
    across = np.floor(100 + x0[:, 0] * scale).astype(int)
    down = np.floor(rows / 2 - x0[:, 1] * scale).astype(int)
    assert (light[down, across] > 0.25 * light.max()).all()
    bright = np.argwhere(light > 0.25 * light.max())
    distance = np.abs(bright[:, None] - np.stack([down, across], axis=1)).max(axis=2).min(axis=1)
    assert distance.max() <= 4


def _picture_height(size):
    """Found from a frame itself: a column of points from far below to far above is lit exactly in the picture."""
    column = np.stack([np.zeros(20_000), np.linspace(-9, 9, 20_000)], axis=1)
    frame = next(plots.frames([column], [0], [column], [0], view=View((-2, 2)), size=size, style="light"))
    middle = frame[:, size // 2].astype(int)
    return int(np.argmax(abs(middle - frame[0, 0]).sum(axis=1) == 0))


def test_the_axes_never_move():
    """A point that stays in the data stays on its pixel while all others fly apart."""
    still = np.array([[0.7, -0.4]] * 50)
    clouds = [np.concatenate([still, CLOUD * (0.1 + 20 * t)]) for t in TIMES]
    shown = list(plots.frames(clouds, TIMES, clouds[::-1], TIMES[::-1], size=200, hold=0, view=View((-1, 1))))
    common = np.min([brightness(frame) for frame in shown], axis=0)
    rows = _picture_height(200)
    expected = [np.floor(rows / 2 + 0.4 * rows / 2), np.floor(100 + 0.7 * rows / 2)]
    assert np.abs(np.argwhere(common > 0.9 * common.max()) - expected).max() <= 2


def test_gif_reads_back_with_its_frames_durations_and_loop(tmp_path):
    shown = film(hold=3)
    path = tmp_path / "film.gif"
    plots.save_gif(iter(shown), path, fps=20)
    distinct = [frame for i, frame in enumerate(shown) if i == 0 or not np.array_equal(frame, shown[i - 1])]
    with Image.open(path) as gif:
        assert gif.size == (200, 200)
        assert gif.info["loop"] == 0
        assert gif.n_frames == len(distinct)
        durations = []
        for i, frame in enumerate(distinct):
            gif.seek(i)
            durations.append(gif.info["duration"])
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), frame)  # exact: one palette holds all
    assert sum(durations) == 50 * len(shown)
    assert durations[0] == durations[-1] == 50 * 4
    assert set(durations[1 : T - 1]) == {50}


def test_gif_keeps_its_length_where_a_frame_is_no_whole_hundredth(tmp_path):
    plots.save_gif(film(hold=0), tmp_path / "film.gif", fps=30)
    with Image.open(tmp_path / "film.gif") as gif:
        total = 0
        for i in range(gif.n_frames):
            gif.seek(i)
            total += gif.info["duration"]
    assert total == pytest.approx(1000 * 18 / 30, abs=10)


def test_gif_of_many_colours_takes_the_nearest(tmp_path):
    ramp = np.stack(np.meshgrid(np.arange(0, 256, 2), np.arange(0, 256, 2)), axis=2).astype(np.uint8)
    rich = np.concatenate([ramp, np.full((128, 128, 1), 90, np.uint8)], axis=2)
    plots.save_gif([rich, rich[::-1]], tmp_path / "rich.gif")
    with Image.open(tmp_path / "rich.gif") as gif:
        error = abs(np.asarray(gif.convert("RGB")).astype(int) - rich)
    assert error.mean() < 6


# ---- terminal


def dots(text):
    """The picture as booleans, shape (4 lines, 2 columns), read by the Unicode numbering of braille dots."""
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    lines = text.split("\n")
    picture = np.zeros((4 * len(lines), 2 * len(lines[0])), bool)
    for i, line in enumerate(lines):
        for j, character in enumerate(line):
            for bit, (down, across) in enumerate(order):
                picture[4 * i + down, 2 * j + across] = (ord(character) - 0x2800) >> bit & 1
    return picture


@pytest.mark.parametrize(("n", "width", "height"), [(200, 24, 12), (20_000, 24, 12), (20_000, 40, 12)])
def test_braille_draws_a_ring_round_and_hollow(n, width, height):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, n)
    picture = dots(rasters.braille(np.stack([np.cos(angle), np.sin(angle)], axis=1), width=width, height=height))
    down, across = np.nonzero(picture)
    assert abs(np.ptp(down) - np.ptp(across)) <= 1
    middle = np.array(picture.shape) // 2
    assert not picture[middle[0] - 10 : middle[0] + 10, middle[1] - 10 : middle[1] + 10].any()


def test_braille_is_the_right_way_up():
    picture = dots(rasters.braille([[0, 0], [2, 2], [2, 0]]))
    down, across = np.nonzero(picture)
    corners = set(zip((down >= 24).tolist(), (across >= 24).tolist(), strict=True))
    assert (False, True) in corners  # upper right
    assert (False, False) not in corners  # nothing upper left


def test_the_terminal_needs_no_matplotlib():
    code = "import sys, motes.rasters; motes.rasters.braille([[0, 1]]); assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- what is refused, and how

NAN = np.where(np.arange(500)[:, None] == 7, np.nan, CLOUD)
REFUSED = {
    "three columns": (lambda: plots.scatter(np.zeros((5, 3))), r"\(5, 3\); expected \(n, 2\)"),
    "no points": (lambda: rasters.braille(np.zeros((0, 2))), "no points"),
    "NaN": (lambda: plots.row([CLOUD, NAN], [0, 1]), r"clouds\[1\] has NaN or infinity in 1 of 500 rows"),
    "unknown style": (lambda: plots.scatter(CLOUD, style="drak"), "'drak'; expected one of 'dark', 'light'"),
    "limits": (lambda: plots.scatter(CLOUD, limits=(1, -1)), "low, high"),
    "times": (lambda: plots.row([CLOUD], [0, 1]), "one time for each"),
    "steps as times": (lambda: plots.row([CLOUD], [37]), "Divide step numbers"),
    "between two steps": (lambda: plots.row([CLOUD], [0.375], view=View(steps=100)), "not a step of a schedule of 100"),
    "process": (lambda: plots.row([CLOUD], [0], process="backward"), "'forward', 'reverse'"),
    "loss NaN": (lambda: plots.loss_curve([1, 2, 3], [1, 2, np.nan]), "nan at position 2.*the first 2 values"),
    "schedule": (lambda: plots.schedule_curves([0, 1], [1, -1], [0, 1]), "negative"),
    "film times": (lambda: plots.frames([CLOUD] * 2, [1, 0], [CLOUD], [0]), "wrong way"),
    "suffix": (lambda: plots.save_gif([], "film.webm"), r"ending in \.gif"),
    "float frames": (lambda: plots.save_gif([np.zeros((4, 4, 3))], "film.gif"), "frame 0 is float64"),
    "fps": (lambda: plots.save_gif([], "film.gif", fps=100), "at most 50"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input_is_a_value_error_that_says_what_to_do(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


def test_the_film_of_a_table_fills_both_sides_of_the_frame():
    # A column a thousand times as wide as the other: with one scale for both the cloud would be a line.
    x = np.random.default_rng(0).normal(size=(2000, 2)) * [1.0, 1000.0]
    box = plots.limits_of(x, equal=False)
    frame = next(iter(plots.frames([x], [0.0], [x], [0.0], view=View(box, columns=("a", "b")), size=320)))
    lit = frame[:270].max(axis=2) > 100
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    assert np.ptp(rows) > 150
    assert np.ptp(columns) > 150


# --- lines around draws in pairs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["normal", "a narrow mode of 30 %"])
def test_lines_of_pairs_hold_their_shares_of_fresh_rows(shape):
    rng = np.random.default_rng(1)

    def rows(n):
        x = rng.normal(size=(n, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
        return x if shape == "normal" else np.where(rng.random((n, 1)) < 0.3, 0.1 * x - 3, x)

    made, fresh = rows(5_000), rows(5_000)
    figure = plots.pairs({"a": made[:, 0], "b": 9 * made[:, 1]}, contours=(0.9, 0.5))
    lines = [part for part in figure.axes[1].collections if len(part.get_paths()) and not len(part.get_offsets()) > 1]
    held = [sum(path.contains_points(fresh * [1, 9]) for path in line.get_paths()) for line in lines]
    # A smoothed density is a little wider, and a share of 5,000 rows is sure to 0.007.
    assert len(held) == 2 and abs(held[0].mean() - 0.5) < 0.03 and abs(held[1].mean() - 0.9) < 0.03, held


def test_lines_of_pairs_are_of_numbers_alone():
    columns = {"a": np.arange(9.0), "b": np.array(list("xyzxyzxyz"), object), "c": np.arange(9.0) ** 2}
    axes = plots.pairs(columns, contours=(0.5,)).axes
    count = {(ax.get_title(loc="left"), len(ax.collections)) for ax in axes}
    assert count == {("a", 0), ("b", 0), ("c", 0), ("", 1), ("", 2)}
    assert sum(len(ax.collections) == 2 for ax in axes) == 1
    for share in (1.5, 1.0, 0.0, -0.5):
        with pytest.raises(ValueError, match="at most 3 shares of the mass"):
            plots.pairs(columns, contours=(share,))


def test_an_axis_of_dates_has_its_ends_and_its_middle():
    days = np.arange("2024-01-10", "2024-12-20", dtype="datetime64[D]").astype("datetime64[us]")
    found = plots.pairs({"day": days, "x": np.arange(len(days))})
    ticks = [tick.get_text() for tick in found.axes[0].get_xticklabels()]
    assert ticks == ["2024-01-10", "2024-06-30", "2024-12-19"]
    ends = [tick.get_text() for tick in found.axes[1].get_xticklabels()]
    assert ends == ["2024-01-10", "2024-12-19"]  # below a cloud of points, which leaves room at both ends


# ---- figures of a diagnosis: the numbers that they are given, on scales that can be compared

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


def panels(figure):
    return [ax for ax in figure.axes if ax.get_subplotspec() is not None]


def meshes(ax):
    return [drawn for drawn in ax.collections if isinstance(drawn, mpl.collections.QuadMesh)]


def named(ax):
    """The entries of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


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
    assert cut_off(ax.figure) < 0.01


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
    assert cut_off(ax.figure) < 0.01
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    for box, (left, width) in zip(boxes, bars(ax), strict=True):
        assert ax.transData.transform((max(left, left + width), 0))[0] < box.x0 < box.x1 < ax.bbox.x1 + 5


# ---- densities


@pytest.mark.parametrize("style", ["dark", "light"])
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
    assert cut_off(figure) < 0.01


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
    assert cut_off(figure) < 0.01


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
    assert cut_off(figure) < 0.01


@pytest.mark.parametrize("style", ["dark", "light"])
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
    assert cut_off(figure) < 0.01


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
