"""What a column holds is seen from its values, and nothing is rounded."""

from typing import Any

import pandas as pd
import pytest

from starterkit.cli.init.profile import look


@pytest.mark.parametrize(
    ("texts", "kind", "no_value", "missing"),
    [
        (["1", "-2", "3"], "integer", (), 0),
        (["1", "2.5", None], "float", (), 1),
        (["1", "?", "N/A", "4"], "integer", ("?", "N/A"), 2),
        (["001", "002", "003"], "text", (), 0),
        (["0", "10", "0"], "integer", (), 0),
        (["True", "FALSE", None], "boolean", (), 1),
        (["yes", "no", "na"], "text", (), 0),
        (["1", "two", "3"], "text", (), 0),
        (["1", "inf", "3"], "text", (), 0),
        (["1,5", "2,5"], "text", (), 0),
        (["2020-01-31", "2021-02-01", "-"], "date", ("-",), 1),
        (["31.1.2020", "1.2.21"], "date", (), 0),
        (["2020-01-31T10:00", "2021-02-01 11:00:01"], "date", (), 0),
        ([None, "", "  "], "nothing", ("", "  "), 3),
        (["a", " ", "b"], "text", (" ",), 1),
        ([" true", "false"], "text", (), 0),
        (["NA", "null"], "nothing", ("NA", "null"), 2),
    ],
)
def test_a_column_of_texts_is_seen_for_what_it_is(texts: Any, kind: str, no_value: Any, missing: int) -> None:
    sight = look("x", pd.Series(texts, dtype="str"))
    assert (sight.kind, sight.no_value, sight.missing) == (kind, no_value, missing)


def test_a_parquet_file_s_own_types_are_taken() -> None:
    def kind(values: Any, dtype: str) -> str:
        return look("x", pd.Series(values, dtype=dtype)).kind

    assert kind([1, 2], "int32") == "integer"
    assert kind([1, None], "Int64") == "integer"
    assert kind([1.0, None], "float64") == "float"
    assert kind([True, None], "boolean") == "boolean"
    assert kind(["a", None], "str") == "text"
    assert kind(["a", "b"], "category") == "text"
    assert kind(["2020-01-01", None], "datetime64[us]") == "date"
    assert kind([None, None], "float64") == "nothing"
