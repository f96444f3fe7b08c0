"""What a name says. A guess that is wrong costs a review; one that is missed could cost a person's secret."""

import pandas as pd
import pytest

from starterkit.cli.init.profile import counts_rows, is_sensitive, names_somebody, says_id, unit_of

WORDS = pd.Series(["some", "words"], dtype="str")


@pytest.mark.parametrize(
    "header",
    ["name", "First Name", "lastName", "customer_name", "E-Mail", "phone number", "Telefon", "Street", "IBAN", "SSN"],
)
def test_a_name_that_says_who_somebody_is(header: str) -> None:
    assert names_somebody(header, WORDS)


@pytest.mark.parametrize("values", [["a@b.de", "c.d@e.org"], ["10.0.0.1", "192.168.0.77"], ["+49 351 123456"] * 2])
def test_values_that_say_who_somebody_is(values: list[str]) -> None:
    assert names_somebody("contact", pd.Series(values, dtype="str"))


@pytest.mark.parametrize("header", ["product name", "filename", "mean radius", "ship", "emailed"])
def test_other_names_do_not(header: str) -> None:
    assert not names_somebody(header, WORDS)


@pytest.mark.parametrize("header", ["age", "Sex", "gender", "date of birth", "ZIP", "postcode", "PLZ", "annual_income"])
def test_what_is_a_person_s_own_affair_is_sensitive(header: str) -> None:
    assert is_sensitive(header)


@pytest.mark.parametrize("header", ["average", "message", "mileage", "stage", "mean area"])
def test_a_word_within_a_word_is_not(header: str) -> None:
    assert not is_sensitive(header)


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("sepal length (cm)", "cm"),
        ("weight_kg", "kg"),
        ("mass (g)", "g"),
        ("income (€)", "€"),
        ("temp [°C]", "°C"),
        ("g", ""),
        ("size (large)", ""),
        ("cm", ""),
        ("mean radius", ""),
    ],
)
def test_a_unit_is_one_that_the_name_says(header: str, unit: str) -> None:
    assert unit_of(header) == unit


def test_ids_and_row_numbers_are_told_apart() -> None:
    assert says_id("PassengerId")
    assert says_id("patient")
    assert not says_id("patient age")
    assert not says_id("humid")
    assert counts_rows("Unnamed: 0", pd.Series([0, 1, 3]))
    assert not counts_rows("Unnamed: 0", pd.Series([3, 1, 2]))
    assert not counts_rows("year", pd.Series([0, 1, 2]))
