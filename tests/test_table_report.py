"""`judge_table` and its page: equal laws raise no alarm, every planted fault is found, and the page is sound."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from motes.data.encoder import Encoder
from motes.data.frames import as_frame
from motes.errors import DataError, UsageError
from motes.evaluation import associations as pairs
from motes.evaluation.tables import judge_table
from motes.reporting.charts import ticks
from motes.reporting.elements import element
from motes.reporting.page import page, write_report

N = 400
EVIL = "<script>alert(\"1\")</script> & 'co'"


def rows(n, seed):
    """Every kind of column, with gaps; `tells` comes from the others."""
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
    """A fault of every kind: made rows as no good model would make them."""
    rng = np.random.default_rng(27182)
    made = rows(N, 3)
    made["count"] += 2  # a column that is shifted
    made["income"] = rng.permutation(made["income"])  # a pair that is broken
    made["tells"] = rng.permutation(made["tells"])  # a target that teaches nothing
    made.loc[made[EVIL] == "b", EVIL] = "a"  # a label that is gone
    made["income"] = made["income"].fillna(20_000.0)  # no gaps
    made.iloc[:80] = rows(N, 1).iloc[:80]  # rows learned by heart
    return made


@pytest.fixture(scope="module")
def parts():
    train, held_out = as_frame(rows(N, 1)), as_frame(rows(N, 2))
    return train, held_out, Encoder.fit(train)


@pytest.fixture(scope="module")
def fast():
    patch = pytest.MonkeyPatch()
    patch.setattr(pairs, "PERMUTATIONS", 199)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def good(parts, fast):
    train, held_out, encoder = parts
    rng = np.random.default_rng(5)
    log_prob = rng.normal(-3, 1, N), rng.normal(-3, 1, N)
    return judge_table(as_frame(rows(N, 3)), held_out, train, encoder, target="tells", log_prob=log_prob)


@pytest.fixture(scope="module")
def bad(parts, fast):
    train, held_out, encoder = parts
    rng = np.random.default_rng(6)
    log_prob = rng.normal(-3, 1, N), rng.normal(-1, 1, N)
    return judge_table(as_frame(faulty()), held_out, train, encoder, target="tells", log_prob=log_prob)


# --- what it says ---------------------------------------------------------------------------------------------------


def test_a_second_draw_raises_no_alarm(good):
    assert good.level == "good"
    assert {one.level for one in good.judgements.values()} == {"good"}
    assert good.headline == "The made rows are like real ones."
    assert good.privacy.copies == (0, N)


def test_every_fault_is_found(bad):
    assert {key: one.level for key, one in bad.judgements.items()} == dict.fromkeys(bad.judgements, "bad")
    columns = {column.name: column for column in bad.columns}
    assert "too high" in columns["count"].judgement.words
    assert columns[EVIL].judgement.level == "bad"
    assert {name for name, column in columns.items() if column.judgement.level == "good"} >= {"age", "day", "fixed"}
    assert columns["income"].missing_judgement.level == "bad"
    found = {frozenset(pair[:2]) for pair in bad.associations.largest if pair[4] < 0.01}
    assert frozenset(["age", "income"]) in found and any("tells" in pair for pair in found)
    assert "count" in dict(bad.telling.columns[:3])
    assert bad.usefulness[0].kept.high < 1
    assert bad.privacy.copies[0] >= 70 and bad.privacy.real_copies[0] == 0
    assert bad.likelihood.gap == pytest.approx(2, abs=0.3)  # 6 standard errors are 0.42 nats
    assert bad.headline == "The made rows are not like real ones, and some give training rows away."


def test_rows_without_gaps_are_told_by_their_values(parts, fast):
    train, held_out, encoder = parts
    made = rows(N, 3)
    whole = rows(N, 4)
    made["income"] = made["income"].fillna(whole["income"]).fillna(whole["income"].median())
    found = judge_table(as_frame(made), held_out, train, encoder)
    assert found.judgements["missing"].level == "good"  # that rows are whole is said, and is no fault
    assert any("with the gaps of held-out rows" in note for note in found.notes)
    # Gaps in 15 % of the rows would have told the sets apart.
    assert found.judgements["classifier"].level == "good"
    assert found.usefulness is None and found.likelihood is None


def test_where_no_gap_is_made_there_is_none_to_judge(fast):
    frames = [pd.DataFrame(np.random.default_rng(k).normal(size=(60, 2)), columns=["a", "b"]) for k in range(3)]
    for real in frames[1:]:
        real.loc[::9, "a"] = None
    made, held_out, train = map(as_frame, frames)
    found = judge_table(made, held_out, train, Encoder.fit(train))
    assert "missing" not in found.judgements
    assert "Missing cells:" not in page(found, title="t")


def test_one_column_and_labels_alone(fast):
    frame = [as_frame(pd.DataFrame({"x": np.random.default_rng(k).normal(size=60)})) for k in range(3)]
    found = judge_table(*frame, Encoder.fit(frame[2]))
    assert found.associations is None and found.level == "good"
    labels = [as_frame(rows(200, k)[[EVIL, "tells"]]) for k in range(3)]
    found = judge_table(*labels, Encoder.fit(labels[2]), target=EVIL)
    assert found.privacy.copies[0] == found.privacy.copies[1] == 200  # as the held-out ones are, so no alarm
    assert found.privacy.judgement.level == "good" and "Privacy" in str(found)


def test_the_same_seed_says_the_same(good, parts, fast):
    train, held_out, encoder = parts
    again = judge_table(as_frame(rows(N, 3)), held_out, train, encoder)
    assert again.telling.accuracy.metric == good.telling.accuracy.metric
    assert [column.distance for column in again.columns] == [column.distance for column in good.columns]


def test_more_rows_than_are_compared_are_named(fast, monkeypatch):
    from motes.evaluation import tables

    for name, least in (("ROWS", 100), ("NEAREST", 50), ("PAIRS", 0), ("SUMS", 0)):
        monkeypatch.setattr(tables, name, least)
    frames = [as_frame(rows(n, k)[["age", "count", EVIL]]) for k, n in enumerate((300, 300, 200))]
    found = judge_table(*frames, Encoder.fit(frames[2]))
    assert found.rows == {"made": 300, "held out": 300, "training": 200}
    assert any("100 of the 300 made rows" in note for note in found.notes)
    assert found.privacy.copies[1] == 300


def test_labels_and_numbers_that_training_did_not_see_are_judged(parts, fast):
    train, _, encoder = parts
    other = rows(N, 5)
    other.loc[:30, EVIL], other.loc[:5, "count"] = "new", 60
    made = as_frame(rows(N, 3))
    found = judge_table(made, as_frame(other), train, encoder)
    assert "'new' is never made" in next(c for c in found.columns if c.name == EVIL).judgement.words
    assert any("beyond what the encoder knows" in note for note in found.notes)


def test_what_does_not_fit_is_refused(parts):
    train, held_out, encoder = parts
    with pytest.raises(UsageError, match="unknown column 'tell'"):
        judge_table(held_out, held_out, train, encoder, target="tell")
    with pytest.raises(UsageError, match="one value"):
        judge_table(held_out, held_out, train, encoder, target="fixed")
    few = as_frame(rows(10, 1))
    with pytest.raises(UsageError, match="10 rows made; expected at least 20"):
        judge_table(few, held_out, train, encoder)
    with pytest.raises(UsageError, match="held-out rows, of shape"):
        judge_table(held_out, held_out, train, encoder, log_prob=(np.full(N, np.nan), np.zeros(N)))
    with pytest.raises(DataError, match="no column 'age'"):
        judge_table(as_frame(rows(N, 1).drop(columns="age")), held_out, train, encoder)
    wrong = rows(N, 1)
    wrong["age"] = "old"
    with pytest.raises(DataError, match="column 'age' of the made rows holds text; expected numbers"):
        judge_table(as_frame(wrong), held_out, train, encoder)


def test_impossible_rows_are_counted(parts, fast):
    train, held_out, _ = parts
    small = [frame.select(["age", "count"]) for frame in (held_out, held_out, train)]
    log_prob = np.where(np.arange(N) < 3, -np.inf, 0.5), np.zeros(N)
    found = judge_table(*small, Encoder.fit(small[2]), log_prob=log_prob).likelihood
    assert found.impossible == (3, 0) and found.held_out == 0.5 and found.judgement.level == "bad"


def test_in_json_and_in_a_terminal(good, bad):
    for found in (good, bad):
        plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert plain["verdict"] == found.verdict and len(plain["columns"]) == 8
        text = str(found)
        assert found.verdict in text
        assert all(column.name in text for column in found.columns)
    assert "80 of 400" in str(bad) or "exact copies" in str(bad)


# --- the page -------------------------------------------------------------------------------------------------------

VOID = {"meta"}


class Page(HTMLParser):
    """Refuses what is not well-formed; collects tags and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len({key for key, _ in attributes}) == len(attributes)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module", params=["good", "bad"])
def written(request, tmp_path_factory):
    found = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("pages") / "report.html"
    assert write_report(found, path, title=f"About {EVIL}", about={EVIL: EVIL}) == path
    return found, path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_in_order(written):
    found, text = written
    assert text.startswith("<!doctype html>")
    page = Page(text)
    assert page.of("html")[0]["lang"] == "en" and len(page.of("h1")) == 1
    said = "".join(page.words)
    places = [said.index(word) for word in (found.headline, "Each column by itself", "How much one column tells")]
    places += [said.rindex(word) for word in ("Boosted trees learn", "The same model learns", "How likely the model")]
    places += [said.index("How far it is from each row"), said.index("How it was measured")]
    assert places == sorted(places)
    assert all(column.name in said for column in found.columns)


def test_the_page_needs_nothing_else(written):
    page = Page(written[1])
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "data", "xlink:href"} & set(attributes)
        assert not any(key.startswith("on") for key in attributes)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.of("a")]
    assert links and all(link[0] == "#" and link[1:] in ids for link in links)
    lower = written[1].lower()
    assert all(word not in lower for word in ("http:", "https:", "url(", "@import", "javascript:"))


def test_the_page_can_be_heard(written):
    page = Page(written[1])
    assert page.of("svg") and all(svg["role"] == "img" and svg["aria-label"].strip() for svg in page.of("svg"))
    assert page.of("table") and len(page.of("caption")) == len(page.of("table"))
    assert all(cell["scope"] in ("col", "row") for cell in page.of("th"))
    assert len(page.of("section")) == len(page.of("h2"))


def test_numbers_in_pictures_are_numbers(written):
    for tag, attributes in Page(written[1]).tags:
        if tag in ("rect", "line", "circle", "path", "text"):
            assert not any("nan" in str(value) or "inf" in str(value) for value in attributes.values()), attributes


@pytest.mark.parametrize("low", [-3.7e-5, 0.0, 0.4, 16.5, 1e6])
@pytest.mark.parametrize("span", [1e-3, 0.6, 1.0, 52.0, 9e5])
def test_ticks_are_few_round_and_inside(low, span):
    found = np.array(ticks(low, low + span))
    assert 2 <= len(found) <= 6
    assert (found >= low - 1e-9 * span).all() and (found <= low + span * (1 + 1e-9) + 1e-6).all()
    step = np.diff(found)[0]
    assert f"{step:.0e}"[0] in "125"
    assert step == pytest.approx(float(f"{step:.0e}"), rel=1e-4)


@pytest.mark.parametrize("text", [EVIL, "</style>", "\x00\x08", "a\u202eb", "&lt;", '" onload="x'])
def test_text_is_text(text):
    page = Page(element("p", text, attributes={"title": text}))
    expected = text.replace("\x00", "\ufffd").replace("\x08", "\ufffd")
    assert "".join(page.words) == expected
    assert page.tags == [("p", {"title": expected})]


def test_a_page_in_the_wrong_place_is_refused(good, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write_report(good, tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(good, tmp_path / "nowhere" / "report.html")


def test_a_real_number_that_comes_often_is_judged_like_any_other():
    def part(seed):
        rng = np.random.default_rng([1618, seed])
        x = np.where(rng.random(N) < 0.4, np.pi, rng.normal(size=N))
        return as_frame(pd.DataFrame({"x": x, "y": x + rng.normal(size=N)}))

    train, held_out, made = part(1), part(2), part(3)
    encoder = Encoder.fit(train)
    assert encoder.described()[0]["becomes"] == "1 value apart"
    found = judge_table(made, held_out, train, encoder, target="y")
    # Each is one test at 1e-6 that three draws of one law are alike.
    assert found.telling.accuracy.metric.p_value > 1e-6
    assert all(column.distance.metric.p_value > 1e-6 for column in found.columns)
    assert found.privacy.copies[0] == 0
