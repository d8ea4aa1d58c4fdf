"""Columns in which nearly every row has its own value: which these are, and that no such value comes back."""

import re

import numpy as np
import pandas as pd
import pytest

import motes
import ordinary_tables
from motes.data import as_frame
from motes.errors import DataError, UsageError
from motes.tables import Schema
from tables import TINY

N = 400
RNG = np.random.default_rng(36)
WORDS = ["blue", "late", "good", "delivery", "broken", "never", "thanks", "price", "again", "order"]


def texts(form):
    return [form.format(k, RNG.choice(WORDS)) for k in RNG.permutation(N)]


IDENTIFIERS = {
    "row": np.arange(1, N + 1),
    "with gaps": np.sort(RNG.permutation(N + N // 4)[:N]),
    "dense": RNG.choice(3000, N, replace=False),
    "account": RNG.choice(np.arange(100_000, 1_000_000), N, replace=False),
    "token": RNG.choice(10**9, N, replace=False),
    "customer_id": RNG.lognormal(8, 1, N).round() * 1000 + np.arange(N),
    "PassengerId": np.arange(N) * 10,
    "code": texts("C{:05d}"),
    "digits": texts("{:06d}"),
    "name": texts("{1} von {0}"),
    "email": texts("{1}.{0}@firm.at"),
    "comment": [*texts("the {1} one, no. {0}")[: N - 30], *["nothing to add"] * 30],
    "some missing": [None if k % 5 == 0 else text for k, text in enumerate(texts("M{}"))],
}
LEARNED = {
    "year": np.arange(1900, 1900 + 120).tolist() + [None] * (N - 120),
    "income": RNG.lognormal(10, 0.8, N).round(),
    "salary": 30_000 + RNG.gamma(4, 9000, N).round(),
    "seconds": np.arange(N) * 60,
    "amount": RNG.choice(np.arange(0, 100_000, 50), N, replace=False),
    "count": RNG.poisson(300, N),
    "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N), "D"),
    "ticket": [f"T{k // 2}" for k in range(N)],
    "city": RNG.choice(["Graz", "Linz", "Wien"], N),
    "size": pd.Categorical([f"{k:03d}" for k in range(N)], ordered=True),
}


@pytest.mark.parametrize("column", IDENTIFIERS)
def test_ids_names_addresses_and_free_text_are_set_aside(column):
    schema = Schema.fit(pd.DataFrame({column: IDENTIFIERS[column], "city": LEARNED["city"]}))
    assert schema.learned == ("city",) and [*schema.identifiers] == [column]
    (message,) = schema.warnings
    why = "they look like personal data" if column == "email" else "nearly every row has its own value"
    assert why in message and f"'{column}'" in message


@pytest.mark.parametrize("column", LEARNED)
def test_measurements_counts_years_dates_and_classes_are_learned(column):
    assert Schema.fit(pd.DataFrame({column: LEARNED[column]})).learned == (column,)


def test_a_few_rows_say_nothing_of_that():
    assert Schema.fit({"name": [f"Ann {k}" for k in range(20)], "id": range(20)}).learned == ("name", "id")


def test_a_weight_of_2_is_as_good_as_the_row_twice():
    names = [f"Ann {k}" for k in range(100)]
    twice = Schema.fit({"name": names * 2}, weights=np.ones(200))
    assert Schema.fit({"name": names}, weights=np.full(100, 2.0)).learned == twice.learned == ("name",)


def test_whoever_says_what_a_column_is_is_believed():
    frame = {"id": np.arange(100), "city": ["Graz", "Linz"] * 50}
    schema = Schema.fit(frame, {"id": "integer"})
    assert schema.learned == ("id", "city") and "synthetic rows will contain real values" in schema.warnings[0]
    schema = Schema.fit({**frame, "zip": ["8010", "4020", "1010", "1020"] * 25}, {"zip": "identifier"})
    assert [*schema.identifiers] == ["id", "zip"] and "'zip'" not in schema.warnings[0]


def test_nothing_but_identifiers_cannot_be_learned_and_the_message_says_what_to_do():
    with pytest.raises(DataError, match=r"its own value in 'name', 'id'.* such as columns\.name = \"categorical\""):
        Schema.fit({"name": [f"Ann {k}" for k in range(100)], "id": np.arange(100), "all": [1] * 100})
    with pytest.raises(DataError, match=r'neither text nor whole numbers.*kind "drop"'):
        Schema.fit({"x": np.linspace(0, 1, 50), "city": ["Graz", "Linz"] * 25}, {"x": "identifier"})


@pytest.mark.parametrize("column", IDENTIFIERS)
def test_placeholders_are_distinct_and_none_is_a_value_of_the_training(column):
    rows = as_frame({column: IDENTIFIERS[column], "city": LEARNED["city"]})
    schema = Schema.fit(rows)
    drawn = schema.decode(np.zeros((1000, 1)), np.zeros((1000, 1)), np.zeros((1000, 1)))
    assert drawn.columns[column].missing.all()
    first, second = schema.with_placeholders(drawn), schema.with_placeholders(drawn, 1001)
    made = [*first.columns[column].cells(), *second.columns[column].cells()]
    assert len({*made}) == 2000 and not {*made} & {*rows.columns[column].cells()}
    assert first.columns[column].type == schema.types[column]


def test_placeholders_have_the_pattern_of_their_column():
    shown = lambda column, values: (
        Schema.fit({column: values, "city": LEARNED["city"]}).identifiers[column].placeholders(1, 2).cells()
    )
    assert shown("name", IDENTIFIERS["name"]) == ["name-000001", "name-000002"]
    assert shown("email", IDENTIFIERS["email"]) == ["email-000001@example.com", "email-000002@example.com"]
    assert shown("id", np.arange(N)) == [1001, 1002]
    assert shown("name", [f"name-{k:06d}" for k in range(N)]) == ["name-x-000001", "name-x-000002"]
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, N)
    assert not {*shown("id", hashes)} & {*hashes.tolist()}


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(1)
    age = rng.integers(18, 80, 200)
    return pd.DataFrame(
        {
            "id": np.arange(200),
            "name": pd.Categorical([f"Secretname{k}" for k in range(200)]),
            "age": age,
            "email": [f"secret{k}@firm.at" for k in range(200)],
            "member": np.where(rng.random(200) < age / 90, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def model(people):
    return motes.fit(people, changes=TINY | {"table.steps": 5}, verbose=False)


def test_samples_have_the_columns_of_the_data_and_no_value_where_one_is_set_aside(model, people):
    rows = model.sample(50)
    assert [*rows] == [*people] and rows[["id", "name", "email"]].isna().all().all()
    assert rows[["age", "member"]].notna().all().all()
    numbered = model.sample(50, placeholders=True)
    assert numbered.name.tolist() == [f"name-{k:06d}" for k in range(1, 51)]
    pd.testing.assert_frame_equal(numbered[["age", "member"]], rows[["age", "member"]])


def test_no_value_of_such_a_column_is_in_the_model_file(model, people, tmp_path):
    model.save(tmp_path / "m.safetensors")
    assert b"ecret" not in (tmp_path / "m.safetensors").read_bytes()
    again = motes.load(tmp_path / "m.safetensors").sample(20, placeholders=True)
    pd.testing.assert_frame_equal(again, model.sample(20, placeholders=True))


def test_rows_with_and_without_such_a_column_have_the_same_answers(model, people):
    some = people[:30].copy()
    few = some[["age", "member"]]
    np.testing.assert_array_equal(model.score_samples(some), model.score_samples(few))
    pd.testing.assert_frame_equal(model.predict(some, "member"), model.predict(few, "member"))
    found = model.evaluate(people, n=200)
    assert found.entries == model.evaluate(people[["member", "age"]], n=200).entries
    assert found.notes[0].endswith("neither learned nor compared: 'id', 'name', 'email'.") and found.notes[0] in str(
        found
    )


def test_filling_in_leaves_such_a_column_as_it_is(model, people):
    some = people[:30].copy()
    some["age"] = some["age"].where(np.arange(30) % 3 > 0)
    whole = model.impute(some)
    pd.testing.assert_frame_equal(whole[["id", "name", "email"]], some[["id", "name", "email"]])
    assert whole.age.notna().all()
    few = model.impute(some[["member", "age"]])
    assert [*few] == ["member", "age"] and few.age.tolist() == whole.age.tolist()


@pytest.mark.parametrize("ask", [
    lambda model, rows: model.sample(5, given={"name": "Secretname1"}),
    lambda model, rows: model.sample(5, given={"id": (0, 5)}),
    lambda model, rows: model.predict(rows, "email"),
    lambda model, rows: model.evaluate(rows, n=50, target="name"),
])  # fmt: skip
def test_what_is_asked_of_such_a_column_is_refused_with_the_reason(model, people, ask):
    with pytest.raises(UsageError, match=r"is set aside, because (nearly every training row has|it looks like e-mail)"):
        ask(model, people)


def test_a_report_shows_no_real_row_unless_asked(model, people, tmp_path):
    marked = people.assign(age=people.age * 1000 + 7)
    learned = motes.fit(marked, columns={"age": "real"}, changes=TINY | {"table.steps": 2}, verbose=False)
    plain = learned.report(tmp_path / "plain.html", marked, n=100).read_text()
    asked = learned.report(tmp_path / "asked.html", marked, n=100, show_rows=True).read_text()
    assert "secret" not in plain + asked
    assert "learned nor compared: &#39;id&#39;, &#39;name&#39;, &#39;email&#39;" in plain
    shown = lambda page: [age for age in marked.age.unique() if f">{age}<" in page.partition('id="examples"')[2]]
    tables = lambda page: page.count('<th scope="row">10</th>')
    assert (tables(plain), tables(asked)) == (1, 2)
    assert len(shown(asked)) > len(shown(plain)) + 4  # a synthetic age may be a real one


# --- personal data, which may repeat ----------------------------------------------------------------------------------


def luhn(digits):
    return digits + str(-sum(sum(divmod(int(d) * (2 - k % 2), 10)) for k, d in enumerate(digits[::-1])) % 10)


def iban(bank):
    return f"AT{98 - int(f'{bank}102900') % 97:02d}{bank}"


def some(make, n=40):
    """Entries of customers, each of whom has about ten rows."""
    known = [make(k) for k in range(n)]
    return [known[k] for k in RNG.integers(0, n, N)]


FIRST, LAST = ["Anna", "Thomas", "Maria", "John", "Eva"], ["Gruber", "O'Brien", "von Berg", "Lee", "Moser-Huber"]
PERSONAL = {
    "contact": ("e-mail addresses", some(lambda k: f"u{k}@firm.at"), r"contact-\d{6}@example\.com"),
    "call": ("phone numbers", some(lambda k: f"+43 660 {1234567 + k}"), r"\+00 000 0\d{6}"),
    "home phone": ("phone numbers", some(lambda k: f"(0316) {123456 + k}"), r"\(0000\) \d{6}"),
    "mobile": ("phone numbers", some(lambda k: 6601234567 + k), r"\d{11}"),
    "paid with": ("card numbers", some(lambda k: luhn(f"411111111{k:06d}")), r"000000000\d{7}"),
    "account": ("IBANs", some(lambda k: iban(f"19043002{k:08d}")), r"AT\d\d0{10}\d{6}"),
    "code": ("social security or similar numbers", some(lambda k: f"123-45-{6789 + k}"), r"000-\d\d-\d{4}"),
    "svnr": ("social security or similar numbers", some(lambda k: f"{1234 + k} 010190"), r"0000 \d{6}"),
    "client": ("IP addresses", some(lambda k: f"192.168.3.{k}"), r"240\.\d+\.\d+\.\d+"),
    "lives in": ("street addresses", some(lambda k: f"Hauptstraße {k}"), r"Example Street \d{6}"),
    "shipping address": ("street addresses", some(lambda k: f"{k} Abbey Lane"), r"Example Street \d{6}"),
    "rep": ("names of people", some(lambda k: f"{FIRST[k % 5]} {LAST[k // 5 % 5]}"), r"Person \d{6}"),
    "lastName": ("names of people", some(lambda k: LAST[k % 5]), r"Person \d{6}"),
    "who": ("first names", [*["Anna", "Maria", "Thomas"] * 100, "Hildegard", *["Eva"] * (N - 301)], r"Person\d{6}"),
}


@pytest.mark.parametrize("column", PERSONAL)
def test_personal_data_that_repeats_is_set_aside_and_returned_as_placeholders_of_its_pattern(column):
    about, values, pattern = PERSONAL[column]
    schema = Schema.fit({column: values, "city": LEARNED["city"]})
    assert schema.learned == ("city",) and schema.columns[0].personal == about
    assert f"they look like personal data: '{column}' ({about})" in schema.warnings[0]
    made = schema.identifiers[column].placeholders(1, 2000).cells()
    assert all(re.fullmatch(pattern, str(one)) for one in made)
    assert len({*made}) == 2000 and not {*made} & {*values}
    warning = f"column '{column}': these look like {about}, so synthetic rows will contain real values."
    assert warning in Schema.fit({column: values, "city": LEARNED["city"]}, {column: "categorical"}).warnings


def test_placeholders_of_cards_and_ibans_have_valid_check_digits():
    cards, ibans = (
        Schema.fit({name: PERSONAL[name][1], "city": LEARNED["city"]}).identifiers[name].placeholders(1, 300).cells()
        for name in ("paid with", "account")
    )
    assert all(luhn(card[:-1]) == card for card in cards)
    assert all(int(f"{one[4:]}1029{one[2:4]}") % 97 == 1 for one in ibans)


def test_a_placeholder_that_the_data_contain_is_replaced_by_another_pattern():
    values = some(lambda k: f"+00 000 0{k:06d}")
    made = Schema.fit({"phone": values, "city": LEARNED["city"]}).identifiers["phone"].placeholders(1, 100).cells()
    assert made[0] == "phone-000001"


def test_first_names_that_several_rows_share_are_learned_and_said():
    schema = Schema.fit({"first name": ["Anna", "Thomas", "Xaver", "Eva"] * 100, "city": LEARNED["city"]})
    assert schema.learned == ("first name", "city")
    assert "first names, learned because each occurs in at least 5 rows" in schema.warnings[0]


ORDINARY = {
    "version": [f"10.{k % 9}.{k % 4}.{k % 7}" for k in range(N)],
    "isbn": some(lambda k: f"978-3-16-1484{k:02d}-0"),
    "sku": some(lambda k: f"{k:04d}-{k * 7 % 1000:03d}"),
    "order no": some(lambda k: 4111111111110000 + 10 * k),
    "town": RNG.choice(["Paris", "Florence", "San Jose", "Santa Maria", "Graz", "Linz", "New York", "Rome"], N),
    "product name": RNG.choice(["Red Chair", "Oak Table", "Jack Lamp", "Floor Lamp"], N),
    "handle": some(lambda k: f"@user{k}"),
    "street": RNG.choice(["Pave", "Grvl"], N),
    "period": RNG.choice(["2020-2021", "2021-2022", "2022-2023"], N),
    "mobile": RNG.choice(["yes", "no"], N),
    "name": RNG.choice(["alpha", "beta", "gamma"], N),
}


def test_columns_that_resemble_personal_data_are_learned():
    schema = Schema.fit({name: list(one) for name, one in ORDINARY.items()}, relations=False)
    assert not [one.name for one in schema.columns if one.personal]


@pytest.mark.slow
def test_ordinary_columns_are_not_taken_for_personal_data():
    """No false alarm in 220 columns of tables that people bring."""
    frames = [*map(ordinary_tables.table, ordinary_tables.TABLES), *map(motes.dataset, motes.data.DATASETS)]
    columns = [one for frame in frames for one in Schema.fit(frame, relations=False).columns]
    assert not [one.name for one in columns if one.personal and one.name not in ("email", "phone")]
    assert len(columns) >= 220
