"""Columns whose values name rows, people or things: which these are, and that no such value comes back."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import motes
import ordinary_tables
from motes.data import as_frame
from motes.errors import DataError, UsageError
from motes.evaluation import evaluate_tables
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
    "store_id": RNG.integers(1, 9, N),
    "station_id": [f"K{a}{b}" for a in "ABCDEFGH" for b in "OPQRS"] * 10,
    "key": [f"{tone} {mode}" for tone in ["C", "C#", "D", "Eb", "E"] * 2 for mode in ("minor", "major")] * 20,
    "tail": [form.format(100 + k % 90) for k, form in enumerate(["N{}AA", "N{}77", "N1{}K", "D-AB{}"] * 100)],
    "blood pressure": [f"{100 + k % 60}/{60 + k % 12}" for k in range(N)],
    "time": [f"{k % 24:02d}:{k % 60:02d}:00" for k in range(N)],
    "month": [f"{1990 + k % 24}-{1 + k % 12:02d}" for k in range(N)],
    "engine": [f"{1000 + k % 67}cc" for k in range(N)],
    "product": [f"Canon EOS {1000 + k % 67}" for k in range(N)],
    "zip": [f"{1010 + 10 * (k % 67)}" for k in range(N)],
    "patient_age": RNG.integers(1, 90, N),
    "price_index": RNG.integers(90, 130, N),
    "nanoseconds": (1_600_000_000 + RNG.integers(0, 10**6, N)) * 10**9,
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


REPEATED = {
    "patient_id": ("ids of people", [f"P{k:05d}" for k in range(N // 5)] * 5),
    "userId": ("ids of people", [*range(1, 11)] * (N // 10)),
    "subject": ("ids of people", RNG.permutation([*range(300, 320)] * (N // 20))),
    "id": ("ids", np.repeat(RNG.permutation(N)[: N // 4], 4)),
    "id_lot": ("ids", [f"lot {k}" for k in range(40)] * 10),
    "caseid": ("ids", [f"{k % 50}:{k % 3}:1" for k in range(N)]),
    "order no": ("ids", [4111111111110000 + 10 * (k % 40) for k in range(N)]),
    "bill": ("codes", [f"2015-{k // 3:06d}" for k in range(N)]),
    "hash": ("codes", [f"{(k % 99 + 7) * 2654435761 % 2**32:08x}" for k in range(N)]),
    "18 digits": ("codes", RNG.integers(10**17, 5 * 10**17, N)),
    "18 digits, repeated": ("codes", np.repeat(RNG.integers(10**17, 5 * 10**17, N // 4), 4)),
}


@pytest.mark.parametrize("column", REPEATED)
def test_ids_that_repeat_are_set_aside_and_returned_as_placeholders_that_repeat(column):
    about, values = REPEATED[column]
    frame = pd.DataFrame({column: values, "city": LEARNED["city"]})
    schema = Schema.fit(frame)
    assert schema.learned == ("city",) and schema.columns[0].personal == about
    (message,) = schema.warnings
    assert f"they look like ids: '{column}'" in message and "repeat as the real values do" in message
    made = schema.identifiers[column].placeholders(1, N).cells()
    assert repetitions(made) == repetitions(values) and not {*made} & {*frame[column]}
    learned = Schema.fit(frame, {column: "categorical"})
    assert learned.learned == (column, "city") and "synthetic rows will contain real values" in learned.warnings[0]


def test_placeholders_of_blocks_are_those_of_one_call_and_few_of_them_repeat_as_all_do():
    values = np.repeat(np.arange(1000), RNG.permutation([1, 2, 3, 10] * 250))
    identifier = Schema.fit({"id": values, "x": RNG.normal(size=len(values))}).identifiers["id"]
    whole = identifier.placeholders(1, 9000).cells()
    blocks = [identifier.placeholders(start, 1000).cells() for start in range(1, 9000, 1000)]
    assert whole == [cell for block in blocks for cell in block]
    few = Counter(repetitions(whole[:400]))  # of 100 placeholders, the last of which may have more rows
    assert all(abs(few[size] - 25) <= 2 for size in (1, 2, 3, 10))


def test_placeholders_in_a_unique_key_are_distinct():
    rows = {"patient_id": REPEATED["patient_id"][1], "visit": np.repeat(np.arange(5), N // 5), "city": LEARNED["city"]}
    schema = Schema.fit(rows).with_rules(["unique(patient_id, visit)"], rows)
    drawn = schema.decode(np.zeros((N, 2)), np.zeros((N, 2)), np.zeros((N, 2)))
    assert len({*schema.with_placeholders(drawn)["patient_id"]}) == N


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


def repetitions(cells):
    """In how many rows each value occurs, in order."""
    return sorted(Counter(cell for cell in cells if cell is not None).values())


@pytest.mark.parametrize("column", IDENTIFIERS)
def test_placeholders_repeat_as_the_real_values_do_and_none_is_one(column):
    rows = as_frame({column: IDENTIFIERS[column], "city": LEARNED["city"]})
    schema = Schema.fit(rows)
    real = rows.columns[column].cells()
    n = len(real) - real.count(None)
    drawn = schema.decode(np.zeros((n, 1)), np.zeros((n, 1)), np.zeros((n, 1)))
    assert drawn.columns[column].missing.all()
    first, second = (schema.with_placeholders(drawn, start).columns[column] for start in (1, n + 1))
    assert repetitions(first.cells()) == repetitions(second.cells()) == repetitions(real)
    assert not {*first.cells()} & {*second.cells()} and not {*first.cells(), *second.cells()} & {*real}
    assert first.type == schema.types[column]


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


ASIDE = ["id", "name", "email", "house_id", "note"]


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
            "house_id": [f"Secret-{k // 4:04d}" for k in range(200)],
            "note": ["fine", *["Secret says: secret1@firm.at"] * 2, *["late"] * 197],
        }
    )


@pytest.fixture(scope="module")
def model(people):
    return motes.fit(people, changes=TINY | {"table.steps": 5}, verbose=False)


def test_samples_have_the_columns_of_the_data_and_no_value_where_one_is_set_aside(model, people):
    rows = model.sample(50)
    assert [*rows] == [*people] and rows[ASIDE].isna().all().all()
    assert rows[["age", "member"]].notna().all().all()
    numbered = model.sample(50, placeholders=True)
    assert numbered.name.tolist() == [f"name-{k:06d}" for k in range(1, 51)]
    assert numbered.house_id.tolist()[:8] == ["house_id-000001"] * 4 + ["house_id-000002"] * 4
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
    assert found.notes[0].endswith(
        "neither learned nor compared: 'id', 'name', 'email', 'house_id', 'note'."
    ) and found.notes[0] in str(found)


def test_filling_in_leaves_such_a_column_as_it_is(model, people):
    some = people[:30].copy()
    some["age"] = some["age"].where(np.arange(30) % 3 > 0)
    whole = model.impute(some)
    pd.testing.assert_frame_equal(whole[ASIDE], some[ASIDE])
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
    assert (
        "learned nor compared: &#39;id&#39;, &#39;name&#39;, &#39;email&#39;, &#39;house_id&#39;, &#39;note&#39;"
        in plain
    )
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
CYRILLIC, ARABIC, CHINESE = ["Иван", "Ольга", "Дмитрий", "Мария"], ["محمد", "فاطمة", "أحمد", "مريم"], "王李张刘"
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
    "author": ("names of people", some(lambda k: f"{CYRILLIC[k % 4]} {k // 4 * 'а'}Петров".title()), r"Person \d{6}"),
    "buyer": ("names of people", some(lambda k: f"{ARABIC[k % 4]} {ARABIC[k // 4 % 4]}"), r"Person \d{6}"),
    "seller": ("names of people", some(lambda k: f"{CHINESE[k % 4]}{'伟娜敏洋静'[k // 4 % 5]}"), r"Person \d{6}"),
    "who": ("first names", [*["Anna", "Maria", "Thomas"] * 100, "Hildegard", *["Eva"] * (N - 301)], r"Person\d{6}"),
}


@pytest.mark.parametrize("column", PERSONAL)
def test_personal_data_that_repeats_is_set_aside_and_returned_as_placeholders_of_its_pattern(column):
    about, values, pattern = PERSONAL[column]
    schema = Schema.fit({column: values, "city": LEARNED["city"]})
    assert schema.learned == ("city",) and schema.columns[0].personal == about
    assert f"they look like personal data: '{column}' ({about})" in schema.warnings[0]
    made = schema.identifiers[column].placeholders(1, N).cells()
    assert all(re.fullmatch(pattern, str(one)) for one in made)
    assert repetitions(made) == repetitions(values) and not {*made} & {*values}
    warning = f"column '{column}': these look like {about}, so synthetic rows will contain real values."
    assert warning in Schema.fit({column: values, "city": LEARNED["city"]}, {column: "categorical"}).warnings


def test_a_constant_is_set_aside_if_it_is_personal_data():
    schema = Schema.fit({"contact": ["ann@firm.at"] * N, "country": ["AT"] * N, "city": LEARNED["city"]})
    assert [*schema.identifiers] == ["contact"] and [*schema.kept] == ["country"]
    assert {*schema.identifiers["contact"].placeholders(1, N).cells()} == {"contact-000001@example.com"}


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


@pytest.mark.parametrize(("text", "about"), [
    ("Olga called, mail to max40@firma40.at", "e-mail addresses"),
    ("call +43 660 1234567 after five", "phone numbers"),
    ("call back at (316) 555-0100.", "phone numbers"),
    ("paid to AT61 1904 3002 3457 3201 OK", "IBANs"),
    ("card 4111 1111 1111 1111, expired", "card numbers"),
    ("ssn: 123-45-6789", "social security or similar numbers"),
    ("login from 192.168.3.7 failed", "IP addresses"),
])  # fmt: skip
def test_a_column_with_personal_data_inside_a_single_text_is_set_aside(text, about):
    notes = ["all fine", "no answer", "version 10.0.19041.1, order 4111111111111112", "12,345,678.90 + 3 paid"] * 100
    assert Schema.fit({"note": notes, "city": LEARNED["city"]}).learned == ("note", "city")
    schema = Schema.fit({"note": [*notes[:-1], text], "city": LEARNED["city"]})
    assert schema.learned == ("city",) and f"'note' (texts with {about})" in schema.warnings[0]
    assert not any(text in message for message in schema.warnings)


def test_one_line_says_which_labels_of_a_single_row_come_back():
    rows = {"job": ["clerk", "nurse"] * 50, "town": ["Graz", "Linz"] * 50, "sex": ["f", "m"] * 50}
    assert Schema.fit(rows).warnings == []
    rows["job"][7], rows["town"][8] = "CEO of Rare GmbH", "Hallstatt"
    (message,) = Schema.fit(rows).warnings
    assert message.startswith("columns 'job', 'town':") and "single row" in message
    assert Schema.fit(rows, weights=np.full(100, 2.0)).warnings == []  # as good as two rows


def test_evaluation_counts_the_real_values_of_ids_and_personal_data():
    rng = np.random.default_rng(5)
    ids = np.array([f"P{k:05d}" for k in range(50)] * 8)
    frame = lambda ids: as_frame({"patient_id": list(ids), "city": LEARNED["city"], "age": rng.integers(18, 90, N)})
    real, held_out = frame(ids), frame(np.where(np.arange(N) < 100, "P99999", ids))
    for overrides in ({}, {"patient_id": "categorical"}):
        schema = Schema.fit(real, overrides, relations=False)
        copied, placeholders = frame(rng.permutation(ids)), schema.with_placeholders if not overrides else None
        found = evaluate_tables(copied, held_out, real, schema)
        assert found.details.known_values == {"patient_id": ((N, N), (N - 100, N))}
        assert "real values of 'patient_id'" in str(found) and "400 of 400" in str(found)
        if placeholders:
            found = evaluate_tables(placeholders(copied), held_out, real, schema)
            assert found.to_dict()["details"]["known_values"]["patient_id"]["synthetic"] == {"copies": 0, "rows": N}


def test_first_names_that_several_rows_share_are_learned_and_said():
    schema = Schema.fit({"first name": ["Anna", "Thomas", "Xaver", "Eva"] * 100, "city": LEARNED["city"]})
    assert schema.learned == ("first name", "city")
    assert "first names, learned because each occurs in at least 5 rows" in schema.warnings[0]


ORDINARY = {
    "version": [f"10.{k % 9}.{k % 4}.{k % 7}" for k in range(N)],
    "isbn": some(lambda k: f"978-3-16-1484{k:02d}-0"),
    "sku": some(lambda k: f"{k:04d}-{k * 7 % 1000:03d}"),
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
    assert not [one.name for one in columns if one.personal and one.name not in ("email", "phone", "customer")]
    assert len(columns) >= 220
