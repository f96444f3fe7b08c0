"""Headers become names that Python, pandera and the API can carry."""

import keyword

import pytest

from starterkit.cli.init.profile import class_name, column_names, plain, problem_name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("mean radius", "mean_radius"),
        ("od280/od315_of_diluted_wines", "od280_od315_of_diluted_wines"),
        ("sepal length (cm)", "sepal_length_cm"),
        ("CustomerID", "customer_id"),
        ("SibSp", "sib_sp"),
        ("Größe", "groesse"),
        ("class", "class_value"),
        ("target", "target_value"),
        ("float", "float_value"),
        ("feature", "feature_value"),
        ("validate", "validate_value"),
        ("2nd floor", "n2nd_floor"),
        ("年龄", "column_1"),
        ("", "column_1"),
        ('say "hi"', "say_hi"),
    ],
)
def test_a_header_becomes_a_name(header: str, name: str) -> None:
    assert column_names([header]) == {header: name}


def test_a_header_that_is_a_name_stays_and_the_others_step_aside() -> None:
    assert column_names(["Age", "age", "AGE!"]) == {"Age": "age_2", "age": "age", "AGE!": "age_3"}


def test_every_name_is_short_and_no_keyword() -> None:
    names = column_names([*keyword.kwlist, *keyword.softkwlist, "x" * 300, "ä" * 300]).values()
    assert all(name.isidentifier() and not keyword.iskeyword(name) and len(name) < 50 for name in names)
    assert len(set(names)) == len(names)


def test_a_file_s_name_becomes_the_problem_s() -> None:
    assert problem_name("Breast Cancer_v2 (final)") == "breast-cancer-v2-final"
    assert problem_name("数据") == "my-problem"
    assert class_name("breast-cancer") == "BreastCancer"
    assert class_name("2024-sales") == "Rows2024Sales"
    assert plain("HTTPServer Load") == "http_server_load"
