"""`evaluate_tables` and its page: equal distributions raise few alarms, planted faults are found, the page is sound."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import motes
from motes.data.frames import as_frame
from motes.errors import DataError, UsageError
from motes.evaluation import associations as interactions
from motes.evaluation.marginals import bars_of
from motes.evaluation.points import evaluate_points
from motes.evaluation.tables import evaluate_tables
from motes.plots import write_page
from motes.plots.report import _environment, page
from motes.plots.svg import cloud, difference_map, element, heat_map, histogram, tick_text, ticks
from motes.rasters import ticks_of_long_range
from motes.tables.schema import Schema
from pages import Page, check_numbers, check_page

N = 400
EVIL = "<script>alert(\"1\")</script> & 'co'"


def rows(n, seed):
    """Every kind of column, with missing entries; `tells` comes from the others."""
    rng = np.random.default_rng([31415, seed])
    age = rng.normal(40, 12, n)
    group = rng.choice(["a", "b", "c", EVIL], n, p=[0.5, 0.2, 0.2, 0.1])
    frame = pd.DataFrame(
        {
            "age": age,
            "income": np.exp(9 + age / 40 + rng.normal(0, 0.3, n)),
            "count": rng.poisson(3, n),
            EVIL: group,
            "day": np.datetime64("2020-01-01") + rng.integers(0, 900, n).astype("m8[D]"),
            "tells": age + 25 * (group == "a") + rng.normal(0, 6, n) > 52,
            "fixed": np.full(n, 7),
            "nothing": np.full(n, np.nan),
        }
    )
    frame.loc[rng.random(n) < 0.15, "income"] = None
    frame.loc[rng.random(n) < 0.1, EVIL] = None
    return frame


def faulty():
    """A fault of every kind, as no good model would make them."""
    rng = np.random.default_rng(27182)
    synthetic = rows(N, 3)
    synthetic["count"] += 2  # a column that is shifted
    synthetic["income"] = rng.permutation(synthetic["income"])  # a pair that is broken
    synthetic["tells"] = rng.permutation(synthetic["tells"])  # a target that teaches nothing
    synthetic.loc[synthetic[EVIL] == "b", EVIL] = "a"  # a label that is gone
    synthetic["income"] = synthetic["income"].fillna(20_000.0)  # no missing entries, though they are learned
    near = rows(N, 1).iloc[:140]
    near["age"] += 1e-3
    synthetic.iloc[:140] = near  # rows that were memorised,
    synthetic.iloc[:40] = rows(N, 1).iloc[:40]  # some of them to the last digit
    return synthetic


@pytest.fixture(scope="module")
def parts():
    training, held_out = as_frame(rows(N, 1)), as_frame(rows(N, 2))
    return training, held_out, Schema.fit(training, missing="learn")


@pytest.fixture(scope="module")
def fast():
    patch = pytest.MonkeyPatch()
    patch.setattr(interactions, "PERMUTATIONS", 199)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def good(parts, fast):
    training, held_out, schema = parts
    rng = np.random.default_rng(5)
    log_prob = rng.normal(-3, 1, N), rng.normal(-3, 1, N)
    return evaluate_tables(as_frame(rows(2 * N, 3)), held_out, training, schema, target="tells", log_prob=log_prob)


@pytest.fixture(scope="module")
def bad(parts, fast):
    training, held_out, schema = parts
    rng = np.random.default_rng(6)
    log_prob = rng.normal(-3, 1, N), rng.normal(-1, 1, N)
    return evaluate_tables(as_frame(faulty()), held_out, training, schema, target="tells", log_prob=log_prob)


# --- what it says ---------------------------------------------------------------------------------------------------


def test_a_second_draw_raises_no_alarm(good):
    assert good.severity == "good" and good.p_value > 0.05
    assert good.headline == "No difference between synthetic and real rows was found."
    assert good.rows == {"synthetic": 2 * N, "held_out": N, "training": N}
    assert good.details.copies.synthetic == (0, 2 * N)
    assert [key for key, one in good.verdicts.items() if not one.seen] == []  # each says what it would have seen


def test_missing_entries_are_said_as_shares_of_both_sets_and_not_at_all_where_there_are_none(bad):
    lines = {column.name: column.line for column in bad.details.columns}
    ours, theirs = (part["income"].isna().mean() for part in (faulty(), pd.concat([rows(N, 1), rows(N, 2)])))
    shown = re.fullmatch(r"(.+)%, real (.+)%", lines["income"][6]).groups()
    assert [float(share) for share in shown] == pytest.approx([100 * ours, 100 * theirs], abs=0.06)
    assert {lines[name][6] for name in ("age", "count", "day")} == {"-"}


def test_every_fault_is_found(bad):
    assert {key for key, one in bad.verdicts.items() if one.differs} == set(bad.verdicts)
    columns = {column.name: column for column in bad.details.columns}
    measures = {entry.name: entry.measure for entry in bad.entries if entry.section == "columns"}
    assert measures["age"] == "Kolmogorov-Smirnov distance" and measures[EVIL] == "total variation distance"
    assert "too high" in columns["count"].verdict.text and columns["count"].verdict.severity == "large"
    assert "'b'" in columns[EVIL].verdict.text and columns[EVIL].contrast.difference < 0
    assert {name for name, column in columns.items() if not column.verdict.differs} >= {"age", "day", "fixed"}
    assert columns["income"].missing_verdict.differs and "20,000 in " in columns["income"].verdict.text
    found = {frozenset(pair.columns) for pair in bad.details.associations.largest if pair.p_value < 0.05}
    assert frozenset(["age", "income"]) in found
    assert "count" in [*bad.details.classifier.importance][:3]
    assert bad.details.utility.relative.high < 1
    assert bad.details.likelihood.difference == pytest.approx(2, abs=0.3)  # 6 standard errors are 0.42 nats
    assert bad.details.copies.synthetic == (40, N)
    assert "differ strongly from the real ones in 3 of 8 columns (income, count, " in bad.headline
    assert "40 of 400 synthetic rows are copies of training rows" in bad.headline
    assert "the model is overfitted" in bad.headline and "5% is expected" in bad.headline


def split(frame, held_out):
    """Held-out and training rows."""
    return as_frame(frame.iloc[:held_out]), as_frame(frame.iloc[held_out:])


def small(n, seed):
    rng = np.random.default_rng([1414, seed])
    x = rng.standard_t(2, n)  # heavy tails
    frame = pd.DataFrame({"x": x, "group": rng.choice(["a", "b", "c"], n), "count": rng.poisson(0.4, n)})
    frame.loc[rng.random(n) < 0.1, "x"] = None
    return frame


@pytest.mark.long
def test_the_family_of_all_tests_holds_its_size(monkeypatch):
    # Real rows against real ones, 30 times at 20 %: more than 13 with probability 0.0002, none with 0.001.
    monkeypatch.setattr(interactions, "PERMUTATIONS", 99)
    found = []
    for k in range(30):
        synthetic, held_out, training = (as_frame(small(n, 3 * k + i)) for i, n in enumerate((150, 24, 60)))
        rng = np.random.default_rng(k)
        log_prob = rng.normal(size=24), rng.normal(size=60)
        schema = Schema.fit(training, missing="learn")
        found.append(evaluate_tables(synthetic, held_out, training, schema, log_prob=log_prob, seed=k).p_value)
    assert 1 <= np.sum(np.array(found) <= 0.2) <= 13


@pytest.mark.parametrize("held_out", [0, 4])
def test_tables_of_20_rows_are_evaluated_and_say_what_could_not_be_told(fast, held_out):
    real = rows(20, 1)
    test, training = split(real, held_out)
    schema = Schema.fit(training)
    log_prob = np.zeros(held_out), np.zeros(20 - held_out)
    found = evaluate_tables(as_frame(rows(500, 2)), test if held_out else None, training, schema,
                            target="tells", log_prob=log_prob)  # fmt: skip
    for key in ("classifier", "utility", "dcr"):
        assert found.verdicts[key].severity == "unknown" and found.verdicts[key].text.startswith(
            "could not be determined: got"
        )
    assert f"got {held_out} held-out rows; at least 20 are needed" in str(found)
    assert not any("most frequent of" in note for note in found.notes)  # two labels of the target are all
    assert found.verdicts["columns"].detectable > 0.3 and found.verdicts["copies"].p_value is not None
    assert found.headline == "No difference between synthetic and real rows was found."
    json.dumps(found.to_dict(), allow_nan=False)
    assert "could not be determined" in str(found) and "could not be determined" in page(found).lower()


def test_twenty_copies_among_a_thousand_rows_are_called_by_name(fast):
    held_out, training = split(rows(700, 1)[["age", "count", "day"]], 100)
    synthetic = rows(1000, 2)[["age", "count", "day"]]
    synthetic.iloc[:20] = rows(700, 1)[["age", "count", "day"]].iloc[100:120]
    found = evaluate_tables(as_frame(synthetic), held_out, training, Schema.fit(training))
    assert [key for key, one in found.verdicts.items() if one.differs] == ["copies"]
    assert found.headline == (
        "No difference between synthetic and real rows was found. 20 of 1,000 synthetic rows are copies of training "
        "rows (0 of 100 held-out rows are, and 0 of 600 training rows equal another)."
    )


@pytest.mark.slow
def test_rows_without_missing_entries_are_compared_by_their_values(parts, fast):
    training, held_out, _ = parts
    synthetic, whole = rows(N, 3), rows(N, 4)
    synthetic["income"] = synthetic["income"].fillna(whole["income"]).fillna(whole["income"].median())
    found = evaluate_tables(as_frame(synthetic), held_out, training, Schema.fit(training, missing="ignore"))
    assert found.details.columns[1].missing_verdict.text.startswith("not modelled")
    assert found.details.columns[3].missing_verdict is not None
    assert any("synthetic rows have no missing entries in income" in note for note in found.notes)
    # Missing entries in 15 % of the rows would have told the sets apart.
    assert not found.verdicts["classifier"].differs and not found.verdicts["dcr"].differs
    assert found.details.utility is None and found.details.likelihood is None


@pytest.mark.slow
def test_one_column_and_labels_alone(fast):
    frame = [as_frame(pd.DataFrame({"x": np.random.default_rng(k).normal(size=60)})) for k in range(3)]
    found = evaluate_tables(*frame, Schema.fit(frame[2]))
    assert found.details.associations is None and found.severity == "good"
    labels = [as_frame(rows(200, k)[[EVIL, "tells"]]) for k in range(3)]
    found = evaluate_tables(*labels, Schema.fit(labels[2]), target=EVIL)
    assert found.details.copies.synthetic == (200, 200)  # as the held-out ones are, so no alarm
    assert not found.verdicts["copies"].differs and found.verdicts["dcr"].severity == "unknown"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_one_another_choice(good, parts, fast):
    training, held_out, schema = parts
    again, other = (evaluate_tables(as_frame(rows(2 * N, 3)), held_out, training, schema, seed=seed) for seed in (0, 1))
    assert again.details.classifier.accuracy == good.details.classifier.accuracy != other.details.classifier.accuracy
    assert again.details.examples == good.details.examples != other.details.examples


def test_more_rows_than_are_compared_are_named(fast, monkeypatch):
    from motes.evaluation import tables as table_tests

    for name, least in (("ROWS", 100), ("NEAREST", 50), ("DISTANCES", 0), ("PRODUCTS", 0), ("PAIR_ROWS", 250)):
        monkeypatch.setattr(table_tests, name, least)
    frames = [as_frame(rows(n, k)[["age", "count", EVIL]]) for k, n in enumerate((300, 300, 200))]
    found = evaluate_tables(*frames, Schema.fit(frames[2]))
    notes = " ".join(found.notes)
    assert "associations of synthetic rows use 250 random rows of 300" in notes
    assert "random rows of 500" in notes and "the classifier uses 100 of the 300 held-out rows" in notes
    assert "are computed for 50 rows of each set" in notes
    assert found.details.copies.synthetic[1] == 300
    assert found.details.columns[0].contrast.error < 0.06  # of all 300 and 500 rows


@pytest.mark.slow
def test_labels_and_numbers_that_training_did_not_see_are_compared(parts, fast):
    training, _, schema = parts
    other = rows(N, 5)
    other.loc[:50, EVIL], other.loc[:5, "count"] = "new", 60
    found = evaluate_tables(as_frame(rows(N, 3)), as_frame(other), training, schema)
    column = next(c for c in found.details.columns if c.name == EVIL)
    assert "'new' is never drawn" in column.verdict.text
    assert next(c for c in found.details.columns if c.name == "count").quantiles[1][-1] == 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "options", "error", "says"),
    [
        (lambda real: real, {"target": "tell"}, UsageError, "unknown column 'tell'"),
        (lambda real: real, {"target": "fixed"}, UsageError, "a single value"),
        (lambda real: real[:10], {}, UsageError, "got 10 synthetic rows; expected at least 20"),
        (lambda real: real, {"log_prob": (np.full(N, np.nan), np.zeros(N))}, UsageError, "log_prob of the held-out"),
        (lambda real: real.drop(columns="age"), {}, DataError, "no column 'age'"),
        (lambda real: real.assign(age="old"), {}, DataError, "'age' of the synthetic rows holds text; expected"),
        (lambda real: real.assign(age=np.inf), {}, DataError, "the synthetic rows, row 1, column 'age': got inf"),
    ],
)
def test_what_does_not_fit_is_refused(parts, change, options, error, says):
    training, held_out, schema = parts
    with pytest.raises(error, match=says):
        evaluate_tables(as_frame(change(rows(N, 1))), held_out, training, schema, **options)


@pytest.mark.slow
def test_impossible_rows_are_counted(parts, fast):
    training, held_out, _ = parts
    two = [frame.select(["age", "count"]) for frame in (held_out, held_out, training)]
    for count, level in ((3, "good"), (40, "moderate")):
        log_prob = np.where(np.arange(N) < count, -np.inf, 0.5), np.full(N, 0.5)
        found = evaluate_tables(*two, Schema.fit(two[2]), log_prob=log_prob)
        like, verdict = found.details.likelihood, found.verdicts["likelihood"]
        assert like.impossible == (count, 0) and like.held_out == 0.5
        assert verdict.severity == level and f"{count} held-out rows are impossible" in verdict.text


def test_numbers_near_the_largest_float_are_no_error(fast):
    def part(k):
        rng = np.random.default_rng(k)
        return pd.DataFrame({"x": [*rng.normal(size=60), 1e308], "y": [*rng.normal(size=60), -1.7e308]})

    frames = [as_frame(part(k)) for k in range(3)]
    found = evaluate_tables(*frames, Schema.fit(frames[2]))
    assert found.details.columns[0].quantiles[0][-1] == 1e308
    check_numbers(page(found))
    json.dumps(found.to_dict(), allow_nan=False)


def test_in_json_and_in_a_terminal(good, bad):
    for found in (good, bad):
        plain, text = json.loads(json.dumps(found.to_dict(), allow_nan=False)), str(found)
        assert plain["headline"] == found.headline in text and plain["kind"] == "table"
        assert plain["sections"].keys() == found.verdicts.keys()
        details, column = plain["details"], found.details.columns[2]
        assert len(details["columns"]) == 8 and details["records"]["share"]["value"] == found.details.records.share
        by_name = {(entry["section"], entry["name"]): entry for entry in plain["entries"]}
        assert len(by_name) == len(plain["entries"]) == len(found.entries)
        count = by_name["columns", "count"]
        assert (count["value"], count["reference_value"]) == (column.distance, column.reference_value)
        assert (count["severity"], count["verdict"]) == (column.verdict.severity, column.verdict.text)
        assert all(column.name in text for column in found.details.columns)
    row = rows(N, 1)["income"].dropna().iloc[0]
    assert str(row) not in json.dumps(bad.to_dict())  # no row of a table is in it


# --- the page -------------------------------------------------------------------------------------------------------

ABOUT = {EVIL: EVIL, "recipe": {"training": {"steps": 2000}}}


@pytest.fixture(scope="module", params=["good", "bad"])
def written(request, tmp_path_factory):
    found = replace(request.getfixturevalue(request.param), source=EVIL, about=ABOUT, date="2026-05-17")
    path = tmp_path_factory.mktemp("pages") / "report.html"
    assert write_page(found, path) == path
    return found, path.read_text(encoding="utf-8")


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("d", [2, 12, 70])
def test_a_heat_map_has_the_same_width_for_any_number_of_columns(d, differences):
    text = heat_map(np.zeros((d, d)), [f"c{j}" for j in range(d)], "associations", differences=differences)
    width, height = map(float, re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', text).groups())
    places = [float(x) for x in re.findall(r'<rect[^>]* x="([0-9.]+)"', text)]
    assert max(places) < width < 900 and height < width


def test_the_page_is_well_formed_and_in_order(written):
    found, text = written
    assert text.startswith("<!doctype html>")
    page = Page(text)
    assert page.of("html")[0]["lang"] == "en" and len(page.of("h1")) == 1
    said = "".join(page.words)
    places = [said.index(word) for word in (found.headline, "Each column separately", "How strongly two columns")]
    places += [
        said.rindex(word)
        for word in ("Boosted trees learn", "The same model learns", "The log-likelihood of real rows")
    ]
    places += [said.index(word) for word in ("The distance from each row", "Ten synthetic rows", "How it was measured")]
    assert places == sorted(places)
    assert all(column.name in said for column in found.details.columns)
    first = next(iter(found.details.classifier.importance))  # the most discriminative column
    assert (f"Importance: {first} " in text) == found.verdicts["classifier"].differs
    assert "±" not in said and "takes all tests of this report into account" in said
    assert "2026-05-17" in said and "2000" in said and found.version in said


def test_the_page_shows_quantiles_and_ten_rows_of_each_if_asked(written):
    found, plain = written
    assert plain.count('<tr><th scope="row">10</th>') == 1  # of synthetic rows
    text = page(found, show_rows=True)
    bodies = [part.split("</tbody>")[0] for part in text.split("<tbody>")[1:]]
    examples = [body for body in bodies if body.startswith('<tr><th scope="row">1</th>')]
    assert [body.count("<tr>") for body in examples] == [10, 10]
    assert len(found.details.examples.synthetic) == len(found.details.examples.real) == 10
    real = {str(day.date()) for day in rows(N, 1)["day"]}
    shown = found.details.examples.real
    assert all(row[4] in real for row in shown) and all(row[-1] == "" for row in shown)
    (quantiles,) = [part for part in text.split("<table>") if "lower quartile" in part]
    age = rows(N, 1)["age"].to_numpy(), rows(N, 2)["age"].to_numpy()
    assert f"{np.concatenate(age).max():.4g}" in quantiles and f"{np.concatenate(age).min():.4g}" in quantiles


def test_the_page_needs_nothing_else_can_be_heard_and_its_numbers_are_numbers(written):
    check_page(written[1])


def test_a_histogram_reaches_the_worst_row_of_both_tables():
    rng = np.random.default_rng(3)
    real, synthetic = rng.normal(size=5000), rng.normal(size=5000)
    even = bars_of(synthetic, real, ())
    assert np.allclose(np.diff(even.places), even.places[1]) and np.allclose(np.diff(even.edges, 2), 0, atol=1e-9)
    synthetic[0], real[0] = 1e6, -500.0
    bars = bars_of(synthetic, real, ())
    assert (bars.edges[0], bars.edges[-1]) == (-500.0, 1e6)
    assert bars.real.sum() == pytest.approx(1) and bars.synthetic.sum() == pytest.approx(1)
    assert bars.synthetic[-1] == 1 / 5000 and bars.real[0] == 1 / 5000
    assert (bars.real > 0.01).sum() >= 4  # the bulk is more than one bar
    assert (np.diff(bars.edges) > 0).all()


def test_few_numbers_have_a_bar_each():
    bars = bars_of(np.array([3.0, 4.0, 4.0, 7.0]), np.array([5.0, 5.0]), ())
    assert bars.edges.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    assert bars.synthetic.tolist() == [0.25, 0.5, 0, 0, 0.25] and bars.real.tolist() == [0, 0, 1, 0, 0]


def test_a_difference_of_5_per_cent_is_seen_in_the_matrix():
    def shade(value):
        values = np.array([[np.nan, value], [value, np.nan]])
        fields = Page(heat_map(values, ["a", "b"], "message", differences=True)).of("rect")
        return fields[0]["class"], float(fields[0]["fill-opacity"])

    assert shade(0.0)[1] == 0 and shade(0.05)[1] > 0.3 and shade(0.6)[1] > 0.9
    assert "plus" in shade(0.05)[0] and "minus" in shade(-0.05)[0]
    text = heat_map(np.full((2, 2), -0.052), ["a", "b"], "message", differences=True)
    assert "−.05" in "".join(Page(text).words)


@pytest.mark.parametrize("low", [-3.7e-5, 0.0, 0.4, 16.5, 1e6])
@pytest.mark.parametrize("span", [1e-3, 0.6, 1.0, 52.0, 9e5])
def test_ticks_are_few_round_and_inside(low, span):
    found = np.array(ticks(low, low + span))
    assert 2 <= len(found) <= 6
    assert (found >= low - 1e-9 * span).all() and (found <= low + span * (1 + 1e-9) + 1e-6).all()
    step = np.diff(found)[0]
    assert f"{step:.0e}"[0] in "125"
    assert step == pytest.approx(float(f"{step:.0e}"), rel=1e-4)


def test_ticks_of_a_long_range_keep_a_character_between_them():
    edges, places = np.array([-1000.0, 0.0, 1000.0]), np.array([0.0, 0.5, 1.0])
    shown = lambda letters: [text for _, text in ticks_of_long_range(edges, places, letters)]
    assert shown(44) == ["-1e+03", "1e+03", "-100"]  # 4.4 of 44 characters are between the centres of -100 and 100
    assert shown(46) == ["-1e+03", "1e+03", "-100", "100"]


@pytest.mark.parametrize("text", [EVIL, "</style>", "\x00\x08", "a\u202eb", "&lt;", '" onload="x'])
def test_text_is_text(text):
    expected = text.replace("\x00", "\ufffd").replace("\x08", "\ufffd")
    template = _environment().from_string('<p title="{{ text }}">{{ text }}</p>')
    for made in (element("p", text, attributes={"title": text}), template.render(text=text)):
        page = Page(made)
        assert "".join(page.words) == expected
        assert page.tags == [("p", {"title": expected})]


# --- the page on points ----------------------------------------------------------------------------------------------

NAME = "<b>\"x\"</b> & 'y'"


def points(n, width, seed):
    return np.random.default_rng([2718, seed]).normal(size=(n, width))


@pytest.fixture(scope="module", params=[1, 2, 5])
def of_points(request, tmp_path_factory):
    samples, reference, other = (points(300, request.param, seed) for seed in range(3))
    samples[0] = 40.0  # a worst row
    names = [NAME, *(f"column {j}" for j in range(1, request.param))]
    found = replace(evaluate_points(samples, reference, other, columns=names), source=NAME, notes=("a note",))
    path = write_page(found, tmp_path_factory.mktemp("pages") / "points.html")
    return found, path.read_text(encoding="utf-8")


@pytest.mark.slow(but=["1"])
def test_the_page_on_points_needs_nothing_else_and_can_be_heard(of_points):
    check_page(of_points[1])


def test_the_page_says_what_the_record_says(of_points):
    found, text = of_points
    said = "".join(Page(text).words)
    assert found.headline in said and found.compared in said and "A note" in said
    for entry in found.entries:
        assert entry.name in said and entry.measure in said and entry.verdict.text in said
    assert found.date in said and found.version in said and NAME in said
    assert "<b>" not in text


def test_the_worst_row_is_seen(of_points):
    found, text = of_points
    width = len(found.details.columns)
    assert text.count('<span class="beyond">40</span>') == width
    for column in found.details.columns:
        assert column.bars.edges[-1] == 40.0 and column.bars.synthetic[-1] > 0
    clouds = [
        svg for svg in Page(text).of("svg") if "points: " in svg["aria-label"] or "real density" in svg["aria-label"]
    ]
    assert len(clouds) == (3 if width == 2 else 0)  # real and synthetic points of the plane, and their difference


@pytest.mark.slow
def test_the_map_of_differences_has_the_colour_of_those_that_are_too_many():
    rng = np.random.default_rng(0)
    left, right = (rng.uniform(size=(3000, 2)) * [0.5, 1] + [0.5 * side, 0] for side in (0, 1))
    text = page(evaluate_points(left, right, right[::-1]))  # all synthetic points are in the left half
    (svg,) = [svg for svg in Page(text).of("svg") if "real density" in svg["aria-label"]]
    drawn = text[text.index("Difference of the densities") :]
    where = {}
    for colour in ("more-synthetic", "more-real"):
        paths = re.findall(rf'<path class="{colour}" d="([^"]*)"', drawn)
        where[colour] = np.array([float(x) for path in paths for x in re.findall(r"M([\d.]+),", path)])
        heights = [float(y) for path in paths for y in re.findall(r"M[\d.]+,([\d.]+)h", path)]
        assert heights and max(heights) < 320  # within the square
    middle = 44 + 150  # of the square
    assert where["more-synthetic"].max() < middle <= where["more-real"].min() + 15
    assert "by chance up to ±" in svg["aria-label"]


@pytest.mark.parametrize(
    ("value", "span", "text"),
    [(2007, 3, "2007"), (5000, 20_000, "5,000"), (1500, 3000, "1500"), (0.25, 1, "0.2"), (-1e-17, 2, "0")],
)
def test_a_year_on_an_axis_has_no_comma_and_zero_no_sign(value, span, text):
    assert tick_text(value, span) == text


@pytest.mark.parametrize("years", [(2007, 2008), (2007, 2009), (1990, 2020)])
def test_the_axis_of_years_has_years(years):
    edges = np.arange(years[0] - 0.5, years[1] + 1)
    shares = np.full(len(edges) - 1, 1 / (len(edges) - 1))
    said = Page(f"<html>{histogram(shares, shares, edges, 'years')}</html>").words
    ticks = [word for word in said if word.strip()]
    assert len(ticks) >= 2
    assert all(years[0] <= int(tick) <= years[1] for tick in ticks)


@pytest.mark.slow
def test_the_loss_is_drawn_beside_the_irreducible_one():
    model = motes.fit("moons", recipe="tutorial", changes={"training.steps": 2}, verbose=False)
    found = model.evaluate(n=200)
    names = [entry.name for entry in found.entries]
    assert "negative_log_likelihood" not in names  # the flow of a network that knows only steps jumps
    excess = found.entries[-1]
    assert excess.name == "excess_loss" and excess.value > 0.2 and excess.verdict.differs
    assert f"at most {excess.value:.2g} nats per row" in found.headline
    text = page(found)
    assert html.escape(found.headline) in text.replace("&#39;", "&#x27;")
    check_numbers(text)


@pytest.mark.slow
def test_a_page_in_the_wrong_place_is_refused_before_the_work(tmp_path, monkeypatch):
    model = motes.fit(motes.make_shape("moons", 60), changes={"training.steps": 2}, verbose=False)
    monkeypatch.setattr(type(model), "evaluate", lambda *given, **options: pytest.fail("it was evaluated"))
    with pytest.raises(UsageError, match=r"expected a name that ends in \.html"):
        model.report(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        model.report(tmp_path / "nowhere" / "report.html")


def test_points_stand_at_their_places():
    low, high = np.array([-1.0, 10.0]), np.array([3.0, 12.0])
    (path,) = [
        one
        for one in Page(cloud(np.array([[-1.0, 10.0], [0.0, 11.5]]), low, high, "real", "")).of("path")
        if "cloud" in one["class"]
    ]
    at = np.array([[float(word) for word in dot.split("h")[0].split(",")] for dot in path["d"].split("M")[1:]])
    corner, other = at
    side = (other[0] - corner[0]) * 4  # a quarter of the way to the right, and three quarters up
    assert side > 100 and corner[1] - other[1] == pytest.approx(0.75 * side, abs=0.2)
    cells = Page(difference_map(np.diag([0.6, 0, 0, -0.6]), low, high, "")).of("path")
    first = {cell["class"]: [float(word) for word in re.findall(r"[\d.]+", cell["d"])[:3]] for cell in cells}
    quarter, top = side / 4, corner[1] - side
    assert first["more-synthetic"] == pytest.approx([corner[0], top, quarter], abs=0.2)
    assert first["more-real"] == pytest.approx([corner[0] + 3 * quarter, top + 3 * quarter, quarter], abs=0.2)
