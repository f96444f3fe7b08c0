"""Files scored by the same predictor that answers requests: every kind, bad rows, classes, folders."""

import csv
import math
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starterkit.contract import Prediction
from starterkit.errors import DataError
from starterkit.serving.batch import BatchScorer, chunks
from starterkit.serving.batch.chunks import CsvSource
from starterkit.serving.validation import InvalidRecords, check_columns, read_records

KINDS = ["csv", "parquet", "arrow", "feather", "arrows"]


def answers(predictor, table):
    """The answers got row by row, as a request gets them."""
    names = predictor.contract.names
    rows = [{name: row[name] for name in names} for row in table.to_pylist()]
    return predictor.predict(read_records(predictor.contract, rows)).values.tolist()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize(("read", "made"), [*zip(KINDS * 2, [*KINDS, *KINDS[1:], KINDS[0]], strict=True)])
def test_every_kind_becomes_every_kind(visits_predictor, visits_rows, files, read, made):
    source, destination = files.write(visits_rows, f"in.{read}"), files.folder / f"out.{made}"
    outcome = BatchScorer(visits_predictor, threads=3).score(source, destination)
    assert (outcome.rows, outcome.bad, outcome.bad_rows) == (400, 0, None)
    scored = files.read(destination.name)
    np.testing.assert_allclose(scored["prediction"].to_pylist(), answers(visits_predictor, visits_rows), rtol=1e-12)
    for name in ("city", "ward", "smoker", "insured", "children", "income"):
        assert scored[name].to_pylist() == visits_rows[name].to_pylist(), name
    if made != "csv":  # whose reader guesses that 007 is a number
        assert scored["visit"].to_pylist() == visits_rows["visit"].to_pylist()
    assert files.names == sorted([source.name, destination.name])


def test_a_line_of_csv_is_copied_as_it_stands(visits_predictor, folder):
    header = b'\xef\xbb\xbfinsured,"no,\nte",city,ward,smoker,children,income\r\n'
    lines = [b'TRUE,"a ""quoted""\r\nline, and more",K\xc3\xb6ln,,,3.0, 1e2\r\n', b"\r\n", b"0,007,NA,a,false,,"]
    (folder / "in.csv").write_bytes(header + b"".join(lines))
    BatchScorer(visits_predictor).score(folder / "in.csv", folder / "out.csv")
    columns = {"city": ["Köln", "NA"], "ward": [None, "a"], "smoker": [None, False], "insured": [True, False]}
    table = pa.table(columns | {"children": [3, None], "income": [100.0, None]})
    first, second = [repr(value).removesuffix(".0").encode() for value in answers(visits_predictor, table)]
    assert (folder / "out.csv").read_bytes() == (
        header[:-2] + b",prediction\r\n" + lines[0][:-2] + b"," + first + b"\r\n" + lines[2] + b"," + second + b"\r\n"
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_classifier_writes_the_label_and_each_probability(iris_predictor, iris, folder, kind):
    rows = pd.read_csv(iris.root / "table.csv").drop(columns="diagnosis")
    rows.to_csv(folder / "in.csv", index=False)
    BatchScorer(iris_predictor).score(folder / "in.csv", folder / f"out.{kind}")
    scored = pd.read_csv(folder / "out.csv") if kind == "csv" else pd.read_parquet(folder / "out.parquet")
    expected = iris_predictor.predict({name: rows[name].to_numpy() for name in iris_predictor.contract.names})
    assert scored["prediction"].tolist() == expected.values.tolist()
    names = [f"probability_of_{label}" for label in iris_predictor.contract.classes]
    assert list(scored.columns) == [*rows.columns, "prediction", *names]
    np.testing.assert_allclose(scored[names].to_numpy(), expected.probabilities)


def spoilt(rows, row, name, value):
    records = rows.to_pylist()
    records[row][name] = value
    return pa.Table.from_pylist(records, schema=rows.schema)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("made", ["csv", "parquet"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_row_stops_it_or_is_put_aside_with_its_reasons(visits_predictor, visits_rows, files, kind, made):
    broken = spoilt(spoilt(visits_rows, 399, "city", "Ulm"), 33, "children", 7777)
    source = files.write(spoilt(broken, 33, "insured", None), f"in.{kind}")
    with pytest.raises(DataError, match=rf"in\.{kind}, row 33 \(the first is 0\), column 'insured': has no") as refusal:
        BatchScorer(visits_predictor).score(source, files.folder / f"out.{made}")
    assert "--bad-rows aside" in refusal.value.hint
    assert "7777" not in str(refusal.value)
    assert [name for name in files.names if not name.startswith(".")] == [source.name]
    outcome = BatchScorer(visits_predictor).score(source, files.folder / f"out.{made}", bad_rows="aside")
    assert (outcome.rows, outcome.bad, outcome.bad_rows) == (400, 2, files.folder / "out.bad.csv")
    with (files.folder / "out.bad.csv").open() as side:
        reasons = list(csv.reader(side))
    assert reasons == [
        ["file", "row", "column", "problem", "mend"],
        [source.name, "33", "insured", "has no value", "Give true or false"],
        [source.name, "33", "children", "is above 9", "Give a whole number, 0 to 9 or null"],
        [source.name, "399", "city", "is not one of the known values", "Give one of 'Köln', 'Bonn', 'NA'"],
    ]
    scored = files.read(f"out.{made}")
    kept = visits_rows.take([row for row in range(400) if row not in (33, 399)])
    np.testing.assert_allclose(scored["prediction"].to_pylist(), answers(visits_predictor, kept), rtol=1e-12)
    assert scored["income"].to_pylist() == kept["income"].to_pylist()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("made", ["csv", "parquet"])
def test_a_torn_line_is_a_bad_row(visits_predictor, visits_rows, files, made):
    source = files.write(visits_rows, "in.csv")
    lines = source.read_text().splitlines()
    lines[51], lines[60] = lines[51] + ",1234567", "a,b"
    source.write_text("\n".join(lines) + "\n")
    scorer, destination = BatchScorer(visits_predictor), files.folder / f"out.{made}"
    with pytest.raises(DataError, match=r"row 50 \(the first is 0\): has 9 fields, the header has 8") as refusal:
        scorer.score(source, destination)
    assert "1234567" not in str(refusal.value)
    assert scorer.score(source, destination, bad_rows="aside").bad == 2
    kept = visits_rows.take([row for row in range(400) if row not in (50, 59)])
    np.testing.assert_allclose(files.read(destination.name)["prediction"], answers(visits_predictor, kept), rtol=1e-12)


class Unsure:
    """A model without a finite answer for whoever has nine children, as no sound graph can be made to be."""

    def __init__(self, predictor):
        self.contract, self.beyond, self._predictor = predictor.contract, predictor.beyond, predictor

    def predict(self, columns):
        values = self._predictor.predict(columns).values
        return Prediction(np.where(np.asarray(columns["children"]) == 8, math.nan, values))


def test_an_answer_that_is_not_finite_is_a_bad_row_and_no_row_at_all_is_refused(visits_predictor, visits_rows, files):
    unsure: Any = Unsure(visits_predictor)
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    aside = files.folder / "out.bad.csv"
    with pytest.raises(DataError, match="has no finite answer"):
        BatchScorer(unsure).score(source, destination)
    rows = [row for row, children in enumerate(visits_rows["children"].to_pylist()) if children == 8]
    assert BatchScorer(unsure).score(source, destination, bad_rows="aside").bad == len(rows) > 3
    assert [int(line.split(",")[1]) for line in aside.read_text().splitlines()[1:]] == rows
    assert len(files.read("out.csv")) == 400 - len(rows)
    source = files.write(visits_rows.set_column(1, "city", pa.array(["Ulm"] * 400)), "in.parquet")
    with pytest.raises(DataError, match=r"none of the 400 rows can be scored\. .*no\.bad\.csv says why"):
        BatchScorer(visits_predictor).score(source, files.folder / "no.csv", bad_rows="aside")
    assert files.names == ["in.csv", "in.parquet", "no.bad.csv", "out.bad.csv", "out.csv"]


def test_rows_beyond_the_proof_stop_the_scoring_or_are_marked(visits_predictor, visits_rows, files):
    open_, contract = copy(visits_predictor), visits_predictor.contract
    free = {"income": {"maximum": None, "proven": (0.0, 120.0)}, "children": {"maximum": None, "proven": (0.0, 7.0)}}
    columns = tuple(replace(one, **free.get(one.name, {})) for one in contract.columns)
    open_.contract = replace(contract, columns=columns)
    source, destination = files.write(visits_rows, "in.csv"), files.folder / "out.csv"
    with pytest.raises(DataError, match="lies beyond 0 to"):
        BatchScorer(open_).score(source, destination)
    open_.beyond = "mark"
    assert BatchScorer(open_).score(source, destination).bad == 0
    scored = files.read("out.csv").to_pylist()
    for row in scored:
        far = [name for name, most in (("children", 7), ("income", 120)) if (row[name] or 0) > most]
        assert (row["beyond"] or "") == ", ".join(far)
    assert {None, "children", "income", "children, income"} == {row["beyond"] for row in scored}


def test_dictionaries_decimals_and_other_types_of_a_file_are_read(visits_predictor, visits_rows, files):
    rows = visits_rows.take([1, 2, 3])
    expected = answers(visits_predictor, rows.set_column(6, "income", pa.nulls(3)))
    odd = {"city": rows["city"].dictionary_encode(), "ward": rows["ward"].cast(pa.large_string())}
    odd |= {"children": rows["children"].cast(pa.decimal128(20, 1)), "income": pa.nulls(3)}
    rows = pa.table({name: odd.get(name, rows[name]) for name in rows.column_names} | {"paid": [[1, 2], None, []]})
    for kind in ("parquet", "arrow", "arrows"):
        source = files.write(rows, f"in.{kind}")
        BatchScorer(visits_predictor).score(source, files.folder / f"out.{kind}")
        scored = files.read(f"out.{kind}")
        assert scored["city"].to_pylist() == rows["city"].to_pylist()
        assert scored["paid"].to_pylist() == [[1, 2], None, []]
        assert scored["prediction"].to_pylist() == expected
    source = files.write(rows.set_column(1, "city", pa.array(range(3))), "in.parquet")
    with pytest.raises(DataError, match=r"row 0 \(the first is 0\), column 'city': is not one of the known values"):
        BatchScorer(visits_predictor).score(source, files.folder / "no.arrow")


CELLS = st.sampled_from(["", *"103", "3.0", " 9 ", "+2", "1e1", "10", "1_0", "nan", "inf", "TRUE", "False", "yes"])
CITIES = st.sampled_from(["", "Köln", "Bonn", "NA", "Ulm", "a,b", 'say "x"', "two\nlines"])


def by_hand(kind, cell):
    """A field of a CSV file as JSON would say it; a text where it is of no such kind."""
    if cell == "":
        return None
    if kind == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(cell.lower(), cell)
    try:
        return float(cell) if kind in ("integer", "float") and "_" not in cell else cell
    except ValueError:
        return cell


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CITIES, CITIES, CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_fields_of_csv_are_judged_as_values_of_json(visits_predictor, folder, rows):
    contract = visits_predictor.contract
    with (folder / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([contract.names, *rows])
    source = CsvSource(folder / "in.csv", contract)
    (chunk,) = source.chunks(0)
    table = source.read(chunk, contract.names).table
    given = {one.name: source.values(one, table[one.name], one.name) for one in contract.columns}
    found, pairs = check_columns(contract, given), [zip(contract.columns, row, strict=True) for row in rows]
    records = [{one.name: by_hand(one.type, cell) for one, cell in row} for row in pairs]
    if found.faults:
        with pytest.raises(InvalidRecords) as refusal:
            read_records(contract, records)
        assert list(found.faults) == list(refusal.value.faults)
        return
    for name, values in read_records(contract, records).items():
        assert [repr(value) for value in found.columns[name].tolist()] == [repr(value) for value in values.tolist()]


def test_lines_of_a_large_file_are_cut_where_rows_end(visits_predictor, folder, monkeypatch):
    remark = 'two\nlines, "quoted"\n'
    with (folder / "in.csv").open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["remark", *visits_predictor.contract.names])
        lines.writerows([remark * (row % 4), "Bonn", "a", "true", "1", row % 9, row] for row in range(200))
    for size in (50, 64, 97, 400, 10_000):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
        BatchScorer(visits_predictor).score(folder / "in.csv", folder / "out.csv", overwrite=True)
        scored = pd.read_csv(folder / "out.csv", keep_default_na=False)
        assert scored.remark.tolist() == [remark * (row % 4) for row in range(200)]
        assert scored.income.tolist() == list(range(200))
