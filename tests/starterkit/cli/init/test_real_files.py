"""What real people's files hold, one odd thing a table: what is written of it, left out, and asked."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init.decisions import plan_for
from starterkit.cli.init.draft import Field, Plan
from starterkit.cli.init.rendering import problem_source
from starterkit.contract import Written

ROWS = 120
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=ROWS).round(3)
Y = X * 2 + RANDOM.normal(size=ROWS)
PLACE = np.arange(ROWS)


def texts(values: Any) -> pd.Series:
    """As a CSV file has them: texts, and nothing where there is none."""
    column = pd.Series(values).astype("str")
    return column.where(column != "")


def plan_of(target: Any = Y, **columns: Any) -> Plan:
    """Of a table with `x`, the columns and the target `y`, as texts. Headers may have signs: ``**{"No.": …}``."""
    table = {name: texts(values) for name, values in {"x": X, **columns, "y": target}.items()}
    return plan_for(pd.DataFrame(table), "mine.csv", "y", "mine", None)


def field(values: Any, header: str = "h", **more: Any) -> Field:
    """What is written of one column."""
    plan = plan_of(**{header: values}, **more)
    return next(one for one in plan.fields if one.header == header)


def some(*values: str, rows: int = ROWS) -> list[str]:
    return [values[place] for place in RANDOM.integers(0, len(values), rows)]


def numbers(form: Callable[[float], str], scale: float = 1000) -> list[str]:
    return [form(value) for value in (RANDOM.random(ROWS) * scale).round(2)]


COUNTERS = {
    "whatever": PLACE + 7,
    "Unnamed: 0": RANDOM.permutation(ROWS),
    "...1": RANDOM.permutation(ROWS) + 1,
    "X": RANDOM.permutation(ROWS) + 1,
    "No": PLACE * 2 + 1,
    "rownames": RANDOM.permutation(10 * ROWS)[:ROWS],
    "": PLACE[::-1],
    "index": [f"{place}.0" for place in PLACE],
}


@pytest.mark.parametrize("header", COUNTERS)
def test_a_row_number_is_no_feature(header):
    plan = plan_of(**{header: COUNTERS[header]})
    assert "row's number" in plan.left_out[header]
    assert plan.by_content


def test_a_row_number_is_the_id_where_most_rows_say_the_same_and_rows_alike_share_a_side_elsewhere():
    coarse = plan_for(pd.DataFrame({"": PLACE, "h": some("a", "b"), "y": X}), "mine.csv", "y", "mine", None)
    assert (coarse.key and coarse.key.role, coarse.by_content) == ("identifier", False)
    assert "counts the rows" in coarse.fields[0].review
    twice = np.r_[X[:100], X[:20]]
    alike = plan_for(pd.DataFrame({"id": PLACE, "h": twice, "y": X}), "mine.csv", "y", "mine", None)
    assert alike.by_content
    assert "rows are alike but for 'id'" in alike.notes[0]
    assert 'set(frame) - {"id", "y"}' in problem_source(alike)
    codes = [f"K-{code}" for code in RANDOM.permutation(9000)[:ROWS]]
    for copies, share in ((20, True), (2, False)):  # the gate refuses records that are there twice under two ids
        h, y = (np.r_[values[:-copies], values[:copies]] for values in (X, RANDOM.random(ROWS)))
        rows = pd.DataFrame({"id": codes, "h": h, "y": y})
        assert plan_for(rows, "mine.csv", "y", "mine", None).by_content == share
        more = plan_for(rows.assign(patient_id=some(*codes[:60])), "mine.csv", "y", "mine", None)
        assert ('frame.drop(columns=["id", "patient_id"]).duplicated()' in problem_source(more)) == share


IDS: dict[str, tuple[str, Any, str, str]] = {
    "a code": ("key", [f"AB{place:04}" for place in PLACE], "identifier", "in the form of a code"),
    "called so": ("CustomerID", RANDOM.permutation(ROWS), "identifier", "called an id"),
    "a number of something": ("Kunden-Nr.", RANDOM.permutation(10**4)[:ROWS], "identifier", "called a number"),
    "row names": ("rownames", [f"car {place}" for place in PLACE], "identifier", "the rows' names"),
    "repeated in some rows": ("ID", np.r_[PLACE[:100], PLACE[:20]], "group", "100 values in 120 rows"),
}


@pytest.mark.parametrize("case", IDS)
def test_the_id_is_named_with_the_reason(case):
    header, values, role, why = IDS[case]
    one = field(values, header)
    assert (one.role, one.type) == (role, "str")
    assert why in one.review


NO_IDS: dict[str, Any] = {
    "durations": [f"0{place // 60}:{place % 60:02}" for place in PLACE],
    "sizes": [f"{place}x{place + 1}" for place in PLACE],
    "amounts": [f"{place}MB" if place % 2 else f"{place}GB" for place in PLACE],
    "versions": [f"1.{place}.0" for place in PLACE],
    "coordinates": [f"N48.{place:03}" for place in PLACE],
    "pairs": [f"48.{place:03},11.{place:03}" for place in PLACE],
    "days": pd.date_range("1990-01-01", periods=ROWS).strftime("%d-%b-%Y")[RANDOM.permutation(ROWS)],
    "words": ["".join(RANDOM.choice(list("abcdefgh"), 9)) for _ in PLACE],
}


@pytest.mark.parametrize("case", NO_IDS)
def test_a_text_without_repeats_is_no_id_because_it_has_none(case):
    plan = plan_of(h=NO_IDS[case])
    assert "identifier" not in {one.role for one in plan.fields}


MONTHS = pd.date_range("2010-01-01", periods=ROWS, freq="MS")
SERIES: dict[str, tuple[str, Any, str]] = {
    "ISO months": ("month", MONTHS.strftime("%Y-%m"), ""),
    "newest first": ("date", MONTHS[::-1].strftime("%Y-%m-%d"), ""),
    "basic ISO": ("day", MONTHS.strftime("%Y%m%d"), "%Y%m%d"),
    "months in digits": ("period", MONTHS.strftime("%Y%m"), "%Y%m"),
    "SAS": ("h", [f"{day:%d%b%Y}".upper() for day in MONTHS], "%d%b%Y"),
    "with a name": ("h", MONTHS.strftime("%d-%b-%Y"), "%d-%b-%Y"),
    "German": ("Datum", (MONTHS + pd.Timedelta(days=20)).strftime("%d.%m.%Y"), "%d.%m.%Y"),
    "American": ("h", (MONTHS + pd.Timedelta(days=20)).strftime("%m/%d/%y"), "%m/%d/%y"),
    "quarters": ("h", [f"{1990 + place // 4} Q{place % 4 + 1}" for place in PLACE], 'freq="Q"'),
    "years": ("year", 1850 + PLACE, ""),
    "years with a fraction": ("time", [f"{1990 + place / 12:.4f}" for place in PLACE], ".str[:4]"),
    "seconds since 1970": ("timestamp", 1_600_000_000 + PLACE * 86_400, 'unit="s"'),
    "unsorted, but called so": ("order date", MONTHS[RANDOM.permutation(ROWS)].strftime("%Y-%m-%d"), ""),
}


@pytest.mark.parametrize("case", SERIES)
def test_a_table_in_time_gets_the_split_in_time(case):
    header, values, as_iso = SERIES[case]
    plan = plan_of(**{header: values})
    assert (plan.key.header, plan.key.role, plan.by_content) == (header, "time", False)
    assert (as_iso in plan.as_iso, bool(plan.as_iso)) == (True, bool(as_iso))
    assert f'Holdout(cutoff="{plan.cutoff}")' in problem_source(plan)
    assert "are the holdout" in plan.key.review


def test_a_model_s_year_and_a_day_in_somebody_s_life_are_no_order():
    cars = {"make": some("ford", "opel"), "mileage": RANDOM.integers(0, 9**6, ROWS), "year": 1890 + PLACE // 2}
    assert not plan_of(**cars).cutoff
    plan = plan_of(birthdate=MONTHS.strftime("%Y-%m-%d"))
    assert (plan.cutoff, plan.left_out["birthdate"][:6]) == ("", "a date")


@pytest.mark.parametrize(("units", "role"), [(24, "group"), (6, "time")])
def test_a_panel_is_split_by_its_units_or_by_time_where_they_are_few(units, role):
    assert plan_of(firm=[f"firm {place % units}" for place in PLACE], year=2000 + PLACE // units).key.role == role


def test_texts_of_many_values_are_kept_without_a_list():
    city, species = some(*(f"city {number}" for number in range(25))), some("Gobius" * 7, "b")
    plan = plan_of(city=city, species=species, rare=[*some("a", "b")[2:], "only here", "and there"])
    assert {one.name: len(one.categories) for one in plan.texts} == {"city": 0, "species": 2, "rare": 4}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"a note of many words, {place}" for place in PLACE], "free text"),
        ([f"w{'abcdefghij'[place % 10]}{'klmnopqrstuv'[place // 10]} !" for place in PLACE], "hardly repeat"),
        ([f"{place} kg" if place % 2 else f"{place * 1000} g" for place in PLACE], "not written in one way"),
    ],
)
def test_a_text_that_says_nothing_of_others_is_left_out_with_the_reason(values, why):
    assert why in plan_of(h=values).left_out["h"]


def test_spellings_of_one_value_are_one_and_said():
    one = field(some("Yes", "yes ", "No"))
    assert one.written.trim
    assert {str(value).casefold() for value in one.categories} == {"yes", "no"}
    assert "3 spellings of 2 values" in one.review


@pytest.mark.parametrize(
    "marker", ["\\N", "<NA>", "NaT", "#DIV/0!", "..", "n.a.", "(null)", "—", "No data", "?", "weiß nicht"]
)
def test_a_marker_among_numbers_is_a_missing_value(marker):
    one = field([marker if place % 9 == 0 else f"{value}" for place, value in zip(PLACE, X, strict=True)])
    assert (one.type, one.nullable, one.written.missing) == ("float", True, (marker,))


def test_a_text_among_few_numbers_is_a_category_and_one_value_or_nothing_a_flag():
    for values in (some("0", "1", "2", "3+"), some("1", "2", "many")):
        assert field(values).type == "str"
    for tick in ("Y", "1", "x"):
        one = field(some(tick, ""))
        assert (one.type, one.nullable, one.written.flags) == ("bool", False, {tick: True, "": False})


@pytest.mark.parametrize(
    "target", [[".." if place % 9 == 0 else f"{place}.5" for place in PLACE], some("a", "b", "NA")]
)
def test_a_target_with_markers_says_so(target):
    plan = plan_of(target=target)
    assert plan.without_target > 0
    assert "read as missing, and a row without target is left out" in plan.target.review
    assert len(plan.target.categories) in (0, 2)


def test_what_stands_for_a_missing_number_does_so_in_texts():
    plan = plan_of(a=[f"{place}.5" if place % 5 else "NA" for place in PLACE], b=some("u", "v", "NA"))
    assert [one.categories for one in plan.texts] == [("u", "v")]


def test_rows_without_target_are_no_rows_to_learn_from_and_can_be_scored():
    target = ["", "", *Y[2:]]
    gap, word, far = field(["", *-X[1:]], target=target), field(["c", *some("a", "b")[1:]], target=target), -X
    far[1] = 99.0
    assert (gap.nullable, word.categories) == (True, ("a", "b", "c"))
    assert field(far, target=target).bounds == (-100, 200)


def test_a_number_that_may_say_missing_is_asked_about_and_kept():
    ages = RANDOM.integers(18, 90, ROWS)
    ages[:4] = -999
    assert "'-999' in 4 rows (first in row 1) is far from the others" in field(ages).review
    assert not field(np.r_[-999, RANDOM.integers(-500, 500, ROWS - 1)]).review


FORMS: dict[str, tuple[Sequence[str], Written]] = {
    "percent": (numbers("{} %".format), Written(affixes=("%",))),
    "euros": ([f"{n % 7 + 1}.{n:03},50 €" for n in PLACE], Written(decimal=",", thousands=".", affixes=("€",))),
    "dollars": (numbers("${:,.2f}".format, 1e5), Written(thousands=",", affixes=("$",))),
    "a currency before": (numbers("CHF {:.2f}".format), Written(affixes=("CHF",))),
    "brackets": ([f"({place}.5)" if place % 3 else f"{place}.5" for place in PLACE], Written(brackets=True)),
    "decimal comma": (numbers(lambda value: str(value).replace(".", ",")), Written(decimal=",")),
    "thousands with blanks": ([f"{place + 1} {place:03}" for place in PLACE], Written(thousands=" ")),
    "with narrow ones": ([f"{place + 1}\u202f{place:03}" for place in PLACE], Written(thousands=" ")),
    "Swiss": ([f"{place + 1}'{place:03}.5" for place in PLACE], Written(thousands="'")),
    "a typographic minus": ([str(value).replace("-", "−") for value in -X], Written()),
    "a unit": (numbers("{} kg".format), Written(affixes=("kg",))),
    "a doubtful dot": ([f"{place + 1}.{place + 100}" for place in PLACE], Written()),
    "a doubtful comma": ([f"{place + 1},{place + 100}" for place in PLACE], Written(thousands=",")),
}
DOUBT = {"a doubtful dot": "read with decimals", "a doubtful comma": "read as thousands"}


@pytest.mark.parametrize("case", FORMS)
def test_numbers_are_read_as_they_are_written(case):
    values, written = FORMS[case]
    one = field(values)
    assert (one.type in ("int", "float"), one.written, one.unit) == (True, written, "".join(written.affixes))
    assert DOUBT.get(case, "") in one.review
    assert (case in DOUBT) == bool(one.review)


@pytest.mark.parametrize("odd", ["n.v.", "inf", "<0.1", "error"])
def test_one_odd_value_is_named_with_its_place_and_costs_nothing(odd):
    one = field([odd, *X[1:]])
    assert (one.type, one.written.missing) == ("float", (odd,))
    assert f"'{odd}' in 1 row (first in row 1)" in one.review


def test_totals_and_a_header_that_is_there_again_are_no_records():
    table = pd.DataFrame({"region": some("north", "south"), "x": X, "y": X * 2}).astype("str")
    again, totals = dict(zip(table, table, strict=True)), {"region": "Total", "x": "99999", "y": "99999"}
    odd = pd.concat([table[:60], pd.DataFrame([again]), table[60:], pd.DataFrame([totals])], ignore_index=True)
    plan = plan_for(odd, "mine.csv", "y", "mine", None)
    told = [(one.name, one.text, one.what) for one in plan.odd_rows]
    assert told == [("region", "region", "row 61 is the header again"), ("region", "Total", "row 122 is the totals")]
    assert (plan.rows, plan.target.bounds[1] < 100, plan.target.written.missing) == (ROWS, True, ("y",))
    assert 'frame["region"] != "Total"' in problem_source(plan)


def test_of_two_columns_that_say_the_same_the_sensitive_one_does_not_go_quietly():
    codes = RANDOM.integers(0, 2, ROWS)
    plan = plan_of(code=codes, female=np.where(codes == 1, "yes", "no"))
    assert plan.left_out == {"female": "says the same as 'code'"}
    assert next(one.sensitive for one in plan.fields if one.name == "code")


def test_a_wide_table_is_looked_at_once():
    wide = {f"c{place}": RANDOM.normal(size=ROWS) for place in range(200)}
    assert len(plan_of(**wide, twin=wide["c7"]).features) == 201
