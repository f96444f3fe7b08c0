"""The file that trained a model is scored as it is: old headers, markers, texts, and every dialect."""

import gzip
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from starterkit.contract import Column, ColumnType, Dialect, Scalar, Written
from starterkit.data.checking import convert
from starterkit.data.sources import ParquetFile
from starterkit.errors import DataError
from starterkit.serving.batch import BatchScorer
from starterkit.serving.batch.chunks import ArrowSource
from starterkit.serving.parsing import find_columns, plain_texts, values_of

WRITTEN = {
    "city": Written(header="Home City", missing=("?",), trim=True),
    "smoker": Written(header="Smoker?", flags={"Y": True, "": False}, missing=("n.a.",)),
    "insured": Written(flags={"ja": True, "nein": False}),
    "children": Written(header="No. of Children"),
    "income": Written(
        header="Income (€)", missing=("NA", "-999"), decimal=",", thousands=".", affixes=("€",), brackets=True
    ),
}
PLAIN = [
    ("Bonn", "a", False, True, 2.0, 1234.5),
    (None, "b", None, False, 0.0, None),
    ("Köln", "a", True, True, 1.0, -50.25),
]
RAW = {
    "": ["1", "2", "3"],
    "Home City": ["bonn ", "?", "Ko\u0308ln"],
    "ward": ["a", "b", "a"],
    "Smoker?": [None, "n.a.", "Y"],
    "insured": ["ja", "nein", "ja"],
    "No. of Children": ["2", "0", "1"],
    "Income (€)": ["1.234,5 €", "NA", "(50,25)"],
    "cost": ["?", "3", ""],
}


@pytest.fixture
def model(visits_predictor, monkeypatch):
    """The visits' model, with columns that its file writes otherwise; a gap may be anywhere."""
    columns = [
        replace(one, nullable=True, minimum=None, maximum=None, proven=None, written=WRITTEN.get(one.name, Written()))
        for one in visits_predictor.contract.columns
    ]
    monkeypatch.setattr(visits_predictor, "contract", replace(visits_predictor.contract, columns=tuple(columns)))
    return visits_predictor


@pytest.fixture
def expected(visits_predictor, files):
    """What the model answers for the same rows in the schema's own words."""
    names = ("city", "ward", "smoker", "insured", "children", "income")
    rows = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in PLAIN])
    return scored(visits_predictor, files.write(rows, "plain.parquet"), files.folder / "plain.out.parquet", files)


def scored(predictor, source, destination, files):
    BatchScorer(predictor).score(source, destination)
    return files.read(destination.name)["prediction"].to_pylist()


def text(delimiter, quote='"'):
    rows = [[*RAW], *([value or "" for value in row] for row in zip(*RAW.values(), strict=True))]
    fields = ([f"{quote}{one}{quote}" if delimiter in one else one for one in row] for row in rows)
    return "".join(f"{delimiter.join(row)}\r\n" for row in fields)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "name"),
    [
        (",", "utf-8", "in.csv"), (";", "utf-8-sig", "in.CSV"), ("\t", "utf-8", "in.tsv"), ("|", "utf-16", "in.csv"),
        (";", "cp1252", "in.csv"), (",", "utf-16-le", "in.csv.gz"), (";", "cp1252", "in.csv.GZ"),
    ],
)  # fmt: skip
def test_a_text_file_is_scored_in_its_own_dialect(model, expected, files, delimiter, encoding, name):
    raw = text(delimiter).replace("o\u0308", "ö").encode(encoding)
    source, destination = files.folder / name, files.folder / f"out{name[2:]}"
    source.write_bytes(gzip.compress(raw) if name.lower().endswith("gz") else raw)
    outcome = BatchScorer(model).score(source, destination)
    assert outcome.ignored == ("Unnamed: 0", "cost")
    made = destination.read_bytes()
    lines = (gzip.decompress(made) if name.lower().endswith("gz") else made).decode(encoding).splitlines()
    assert [line.rpartition(delimiter)[0] for line in lines] == raw.decode(encoding).splitlines()
    assert [float(line.rpartition(delimiter)[2]) for line in lines[1:]] == expected
    BatchScorer(model).score(source, files.folder / "typed.parquet")
    typed = files.read("typed.parquet")
    assert (typed["Income (€)"].to_pylist(), typed["prediction"].to_pylist()) == ([1234.5, None, -50.25], expected)


@pytest.mark.parametrize(("kind", "missing"), [("parquet", float("nan")), ("arrow", -999.0)])
def test_a_typed_file_is_read_as_training_read_it(model, expected, files, kind, missing):
    table = pa.table({
        **RAW,
        "Home City": pa.array([one.encode() for one in RAW["Home City"]], pa.binary()),
        "Smoker?": pa.array(["", "n.a.", "Y"]),
        "insured": pa.array([1.0, 0.0, 1.0]),
        "No. of Children": pa.array([2, 0, 1], pa.int8()),
        "Income (€)": pa.array([1234.5, missing, -50.25]),
    })  # fmt: skip
    assert scored(model, files.write(table, f"in.{kind}"), files.folder / f"out.{kind}", files) == expected


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_partitions_of_hive_are_columns_of_their_files(model, expected, files, kind):
    for place, folder in enumerate(["Home City=bonn /ward=a", "Home City=__HIVE_DEFAULT_PARTITION__/ward=b"]):
        (files.folder / "deep" / folder).mkdir(parents=True)
        row = {name: values[place : place + 1] for name, values in RAW.items() if name not in ("Home City", "ward")}
        files.write(pa.table(row), f"deep/{folder}/part-0.{kind}")
    outcome = BatchScorer(model).score(files.folder / "deep", files.folder / "out")
    made = sorted((files.folder / "out").rglob(f"part-0.{kind}"), key=lambda path: "ward=b" in str(path))
    tables = [files.read(str(path.relative_to(files.folder))) for path in made]
    assert [table["prediction"][0].as_py() for table in tables] == expected[:2]
    assert (outcome.rows, outcome.ignored[1:], "ward" in tables[0].column_names) == (2, ("cost",), False)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([5, 7, None], pa.int64()), ["5", "7", None]),
        (pa.array([5.0, 0.5, float("nan")]), ["5", "0.5", None]),
        (pa.array([date(2026, 1, 2), None]), ["2026-01-02", None]),
        (pa.array([True, None]), ["True", None]),
        (pa.array([b"x", "ü".encode()]), ["x", "ü"]),
        (pa.array([Decimal("5.0"), Decimal("5.5")]), ["5", "5.5"]),
    ],
)
def test_a_value_that_is_a_text_in_the_schema(model, files, values, texts):
    (ward,) = [one for one in model.contract.columns if one.name == "ward"]
    path = files.write(pa.table({"ward": values}), "in.parquet")
    given = ArrowSource(path, "parquet").values(ward, values, "ward")
    assert [None if gap else one for one, gap in zip(given.values, given.missing, strict=True)] == texts
    as_trained = convert(ward, ParquetFile(path).table()["ward"])[0]
    assert as_trained.astype(object).where(as_trained.notna(), None).tolist() == texts


def test_a_file_with_the_schemas_own_names_is_taken_and_a_wrong_form_is_not(model, files):
    names = {"Home City": "city", "Smoker?": "smoker", "No. of Children": "children", "Income (€)": "income"}
    plain = {names.get(name, name): values for name, values in RAW.items()} | {"income": ["1234.5", "NA", "-50.25"]}
    assert len(scored(model, files.write(pa.table(plain), "in.csv"), files.folder / "out.csv", files)) == 3
    wrong = RAW | {"Income (€)": ["12.5", "NA", "(50,25)"]}
    misspelt = {"Home Cty" if name == "Home City" else name: values for name, values in RAW.items()}
    for given, said in (
        (wrong, r"row 0 .*column 'income': is not a number"),
        (misspelt, r"lacks the column 'Home City'. Did you mean 'Home Cty'\?$"),
    ):
        with pytest.raises(DataError, match=said):
            BatchScorer(model).score(files.write(pa.table(given), "wrong.csv"), files.folder / "no.csv")


def test_the_dialect_that_trained_goes_first(model, files, monkeypatch):
    likely = replace(model.contract, dialect=Dialect(delimiter=";", encoding="mac_roman"))
    monkeypatch.setattr(model, "contract", likely)
    (files.folder / "in.csv").write_bytes(text(";").replace("o\u0308", "ö").encode("mac_roman"))
    BatchScorer(model).score(files.folder / "in.csv", files.folder / "out.parquet")
    assert files.read("out.parquet")["Home City"].to_pylist()[2] == "Köln"


@pytest.mark.usefixtures("small_steps")
def test_a_compressed_file_is_gone_on_with(model, files):
    lines = text(";").replace("o\u0308", "ö").splitlines(keepends=True)
    many = lines[0] + "".join(lines[1:]) * 200
    (files.folder / "in.csv.gz").write_bytes(gzip.compress((many + lines[1].replace("ja", "?")).encode("cp1252")))
    with pytest.raises(DataError, match=r"row 600 .*'insured'"):
        BatchScorer(model).score(files.folder / "in.csv.gz", files.folder / "out.csv.gz")
    outcome = BatchScorer(model).score(files.folder / "in.csv.gz", files.folder / "out.csv.gz", bad_rows="aside")
    assert (outcome.rows, outcome.bad) == (601, 1)
    table = pd.read_csv(files.folder / "out.csv.gz", sep=";", encoding="cp1252")
    assert table["Home City"].tolist() == ["bonn ", "?", "Köln"] * 200


NBSP, NARROW = "\u00a0", "\u202f"
GERMAN = Written(decimal=",", thousands=".")
MONEY = Written(thousands=",", affixes=("$", "USD"), brackets=True)
FRENCH = Written(decimal=",", thousands=" ", affixes=("€", "%"))
FLAG = Written(flags={"Y": True, "N": False}, missing=("?",))
YES_OR_EMPTY = Written(flags={"Y": True, "": False}, missing=("?",))
GAPS = Written(missing=("NA", r"\N", "—"))


def a_column(kind: ColumnType, written: Written, *categories: Scalar) -> Column:
    plain = {"name": "x", "role": "feature", "unit": "", "sensitivity": "plain"}
    return Column(**plain, type=kind, written=written, categories=categories)


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        (GERMAN, "1.234,5", 1234.5), (GERMAN, "12,5", 12.5), (GERMAN, "-1.234.567", -1234567),
        (GERMAN, "12.5", "wrong"), (GERMAN, "1.23,4", "wrong"), (GERMAN, "1234,5", 1234.5), (GERMAN, ",5", 0.5),
        (GERMAN, "  ", None),
        (MONEY, "$1,234.50", 1234.5), (MONEY, "($12.50)", -12.5), (MONEY, "$(12.50)", -12.5), (MONEY, "12 USD", 12),
        (MONEY, "-$5", -5), (MONEY, "$-5", -5), (MONEY, "(12", "wrong"), (MONEY, "(-12)", "wrong"),
        (MONEY, "1,2", "wrong"),
        (FRENCH, f"1{NARROW}234,5{NBSP}€", 1234.5), (FRENCH, "1 234 567", 1234567), (FRENCH, "12,5 %", 12.5),
        (FRENCH, "−3,5", -3.5), (FRENCH, "5 kg", "wrong"), (FRENCH, "1,5e3", 1500),
        (Written(thousands="'"), "1’234.5", 1234.5), (Written(affixes=("kg",)), "12.5kg", 12.5),
        (GAPS, "NA", None), (GAPS, r" \N ", None), (GAPS, "—", None), (GAPS, "", None), (GAPS, "7", 7),
        (GAPS, "−7", -7), (Written(), "−7", -7), (Written(), "NA", "wrong"), (Written(), "+7 ", 7),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_declared(written, text, expected):
    column = a_column("float", written)
    values, missing, wrong = values_of(column, plain_texts(column, pa.array([text or None], pa.string())))
    got = None if missing[0] else "wrong" if wrong[0] else values[0]
    assert got == expected


def test_texts_are_put_into_the_schemas_words():
    for kind, written, categories, texts, expected in (
        ("boolean", FLAG, (), ["Y", " N ", "?", None, "true"], ["true", "false", None, None, "true"]),
        ("boolean", YES_OR_EMPTY, (), ["Y", "", None, "?"], ["true", "false", "false", None]),
        ("string", GAPS, (), [" NA", "Na", "", "\\N"], [None, "Na", None, None]),
        ("string", Written(trim=True), ("Männer", "B"), ["ma\u0308nner ", "b", "c "], ["Männer", "B", "c "]),
        ("string", Written(trim=True), (), ["Ab ", "aB"], ["ab", "ab"]),
        ("string", Written(header="X"), (), ["1.234,5"], ["1.234,5"]),
    ):
        found = plain_texts(a_column(kind, written, *categories), pa.array(texts, pa.string()))
        assert found.to_pylist() == expected
    numbers = values_of(a_column("boolean", FLAG), pa.array(["1.0", "0"])).values  # as a file may write flags
    assert np.array_equal(numbers, [True, False])


def test_a_column_is_found_by_its_header_else_by_its_name():
    columns = [
        Column(name=name, role="feature", type="float", unit="", sensitivity="plain", written=Written(header=header))
        for name, header in (("age", "Age (y)"), ("weight", ""), ("x_1", "x"), ("x", "x.2"))
    ]
    assert find_columns(columns, ["Age (y)", "weight", "id"]) == {"age": "Age (y)", "weight": "weight"}
    assert find_columns(columns, ["age", "x", "x.2"]) == {"age": "age", "x_1": "x", "x": "x.2"}
    assert find_columns(columns, ["x"]) == {"x_1": "x"}
