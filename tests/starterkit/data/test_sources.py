"""CSV, Parquet and SQL give the same rows, and a source that cannot be read says so in one clear line."""

import csv
import gzip
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import Ridge

from starterkit.contract import Dialect
from starterkit.data import DatasetReader
from starterkit.data.sources import CsvFile, ParquetFile, open_source
from starterkit.errors import DataError
from starterkit.problem import Problem, Written, feature, identifier, target, time
from starterkit.settings import DataSettings, DialectSettings, Stage

PASSWORD = "correct horse"
QUERY = "SELECT * FROM patients WHERE 'hidden' = 'hidden'"


@pytest.fixture(scope="module")
def warehouse(diabetes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The diabetes data three times, in a folder of its own."""
    root = tmp_path_factory.mktemp("warehouse")
    table = pd.read_csv(diabetes.root / diabetes.source)
    table.loc[range(9), "patient_id"] = ["007", "7", "1.0", "1e3", "NA", "null", 'say "ü"', "a,b", "true"]
    table.to_csv(root / "patients.csv", index=False)
    table.to_parquet(root / "patients.parquet")
    with sqlite3.connect(root / "patients.db") as database:
        table.to_sql("patients", database, index=False)
    return root


@pytest.fixture
def problem(visits: Any) -> Any:
    return visits.problem(lambda: None)


def settings(source: str, query: str | None = None) -> DataSettings:
    return DataSettings(source=source, query=query, password=None if source.startswith("sqlite") else PASSWORD)


def test_every_source_gives_the_same_dataset_and_a_digest_tells_one_changed_value(diabetes, warehouse, tmp_path):
    problem = diabetes.problem(lambda: None)
    sources = (settings("patients.csv"), settings("patients.parquet"), settings("sqlite:///patients.db", QUERY))
    csv, parquet, sql = (DatasetReader(problem, source, warehouse, Stage.LOCAL).read() for source in sources)
    assert csv.digest == parquet.digest == sql.digest
    assert csv.holdout.digest == parquet.holdout.digest == sql.holdout.digest
    pd.testing.assert_frame_equal(csv.training.features, parquet.training.features)
    pd.testing.assert_frame_equal(csv.training.features, sql.training.features)
    text = (warehouse / "patients.csv").read_text()
    (tmp_path / "patients.csv").write_text(text.replace("007,59", "007,60"))
    problem = diabetes.problem(lambda: None)
    before = DatasetReader(problem, settings("patients.csv"), warehouse, Stage.LOCAL).read()
    after = DatasetReader(problem, settings("patients.csv"), tmp_path, Stage.LOCAL).read()
    assert before.digest != after.digest
    assert (before.training.digest == after.training.digest) != (before.holdout.digest == after.holdout.digest)


def test_missing_values_zeros_and_a_country_called_na_are_the_same_in_csv_and_parquet(visits, problem):
    csv, parquet = visits.dataset(problem, "table.csv"), visits.dataset(problem, "table.parquet")
    assert csv.digest == parquet.digest
    assert csv.training.features["ward"].isna().any()
    pd.testing.assert_frame_equal(csv.training.features, parquet.training.features)
    table = open_source(DataSettings(source="table.csv"), visits.root, problem).read()
    assert table["visit"].iloc[7] == "007"
    assert "NA" in set(table["city"])
    assert not table["city"].isna().any()


HEADER = "visit,city,ward,smoker,insured,children,income,cost"
LINES = "é,2,3,4,5,6,7,8\n" * 150_000


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("empty.csv", b"", "empty.csv is empty"),
        ("blank.csv", b"\xef\xbb\xbf\n \n", "blank.csv is empty"),
        ("header.csv", HEADER.encode(), "has no rows"),
        ("spaces.csv", HEADER.replace(",", " ").encode() + b"\n1 2 3 4 5 6 7 8", "has one column"),
        ("utf32.csv", HEADER.encode("utf-32"), "is UTF-32 text"),
        ("late.csv", f"{HEADER}\n{LINES}".encode() + b"\xe9\n", "damaged place in line 150002"),
        ("cut.csv", HEADER.encode() + "\né".encode()[:-1], "damaged place in line 2"),
        ("headless.csv", b"Miller,Bonn,a,True,True,1,1.5,2.5\n" * 2, "none of the schema's"),
        ("ragged.csv", HEADER.encode() + b"\nMiller,Bonn,a,True,True,1,1.5,2.5,9\n", "more fields than its header"),
        ("ragged2.csv", HEADER.encode() + b"\n1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7,8,9\n", "Expected 8 fields in line 3"),
        ("other.csv", HEADER.encode() + b"\nM\x81ller,1,2,3,4,5,6,7", "neither UTF-8 nor cp1252"),
        ("cut.csv.gz", gzip.compress(HEADER.encode(), mtime=0)[:-9], "is damaged: it cannot be decompressed"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe", "holds zero bytes"),
        ("zip.csv", b"PK\x03\x04" + bytes(range(256)), "is a ZIP or Excel file"),
        ("empty.parquet", b"", "cannot be read"),
        ("text.parquet", b"visit,city\n1,2\n", "cannot be read"),
        ("cut.parquet", None, "cannot be read"),
        ("folder.csv", "folder", "is a folder without Parquet files"),
    ],
)
def test_a_broken_file_is_one_clear_error(visits, problem, tmp_path, name, content, named):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    else:
        whole = (visits.root / "table.parquet").read_bytes()
        path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(DataError) as refusal:
        DatasetReader(problem, settings(name), tmp_path, Stage.LOCAL).read()
    assert named in refusal.value.what
    assert refusal.value.hint
    assert "\n" not in str(refusal.value)
    assert "Miller" not in str(refusal.value)


def test_a_damaged_page_a_file_that_is_not_there_and_another_kind_are_one_clear_error(visits, problem, tmp_path):
    whole = bytearray((visits.root / "table.parquet").read_bytes())
    whole[20:400] = bytes(380)
    (tmp_path / "table.parquet").write_bytes(whole)
    with pytest.raises(DataError, match=r"table\.parquet"):
        DatasetReader(problem, settings("table.parquet"), tmp_path, Stage.LOCAL).read()
    with pytest.raises(DataError, match=r"data file 'gone\.csv' does not exist.*data\.source"):
        open_source(settings("gone.csv"), tmp_path, problem)
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match=r"Use \.csv, .* or a database address"):
        open_source(DataSettings.model_construct(source="table.xlsx"), tmp_path, problem)


@pytest.mark.parametrize(
    ("address", "query", "named"),
    [
        ("sqlite:///patients.db", "SELECT hidden FROM nowhere", "no such table: nowhere"),
        ("sqlite:///patients.db", "SELEKT hidden", "syntax error"),
        ("sqlite:///patients.db", "DELETE FROM patients", "does not return rows"),
        ("sqlite:///gone.db", QUERY, "'gone.db' does not exist"),
        ("sqlite:///patients.csv", QUERY, "file is not a database"),
        ("nosuchdatabase://user@host/name", QUERY, "nosuchdatabase"),
        ("postgresql+pg8000://user@host/name", QUERY, "pg8000"),
        ("postgresql+pg8000://user@host/name", QUERY, "make add PKG="),
        ("postgresql://user@host:port/name", QUERY, "malformed"),
        (f"postgresql://user:{PASSWORD}@host:port/name", QUERY, "malformed"),
    ],
)
def test_a_query_that_fails_says_why_and_tells_no_secret(diabetes, warehouse, address, query, named):
    with pytest.raises(DataError) as refusal:
        DatasetReader(diabetes.problem(lambda: None), settings(address, query), warehouse, Stage.LOCAL).read()
    assert named in str(refusal.value)
    assert refusal.value.hint
    for secret in (PASSWORD, "hidden", "correct", "SELECT hidden"):
        assert secret not in str(refusal.value)
    assert not (warehouse / "gone.db").exists()
    with sqlite3.connect(warehouse / "patients.db") as database:
        assert database.execute("SELECT count(*) FROM patients").fetchone() == (442,)


@pytest.mark.filterwarnings("ignore:Query string argument")  # SQLite takes none, which is not the point here
def test_two_columns_of_one_name_are_refused_and_a_password_in_the_address_is_not_recorded(diabetes, warehouse):
    source = settings(f"sqlite:///patients.db?password={PASSWORD}", QUERY)
    dataset = DatasetReader(diabetes.problem(lambda: None), source, warehouse, Stage.LOCAL).read()
    assert dataset.source == "sqlite:///patients.db?password=***"
    source = settings("sqlite:///patients.db", "SELECT *, age AS age FROM patients")
    with pytest.raises(DataError) as refusal:
        DatasetReader(diabetes.problem(lambda: None), source, warehouse, Stage.LOCAL).read()
    assert [(f.column, f.check) for f in refusal.value.failures] == [("age", "is there more than once")]  # type: ignore[attr-defined]


def test_an_index_with_a_name_is_a_column_of_parquet(tmp_path):
    whole = pd.DataFrame({"id": ["007", "008"], "age": [1, 2]})
    (whole.set_index("id")).to_parquet(tmp_path / "named.parquet")
    (whole.set_index(pd.Index([5, 3]))).to_parquet(tmp_path / "bare.parquet")
    for name in ("named", "bare"):
        read = ParquetFile(tmp_path / f"{name}.parquet").read()
        assert read.reset_index(drop=True).equals(whole)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "quote", "name"),
    [
        (";", "cp1252", '"', "t.csv"), ("\t", "utf-16", '"', "t.TSV"), ("|", "utf-8-sig", "'", "t.csv.gz"),
        (",", "utf-16-be", '"', "t.CSV.gz"),
    ],
)  # fmt: skip
def test_a_text_file_of_any_dialect_is_read(visits, problem, tmp_path, delimiter, encoding, quote, name):
    table = pd.read_csv(visits.root / "table.csv", dtype="str", keep_default_na=False)
    text = table.to_csv(index=False, sep=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    read = DatasetReader(problem, settings(name), tmp_path, Stage.LOCAL).read()
    assert read.digest == visits.dataset(problem).digest
    assert read.dialect == Dialect(delimiter=delimiter, encoding=encoding.removesuffix("-sig"), quote=quote)


def test_what_the_settings_say_of_a_dialect_goes_first(visits, problem, tmp_path):
    text = (visits.root / "table.csv").read_bytes().decode().replace("Köln", "\x81")
    (tmp_path / "t.csv").write_bytes(text.encode("cp437", "replace").replace(b"?", b"\x81"))
    said = DataSettings(source="t.csv", dialect=DialectSettings(encoding="CP437"))
    assert "ü" in "".join(CsvFile(tmp_path / "t.csv", problem.columns, said.dialect).read()["city"].dropna())


EUROS = Written(missing=("NA",), decimal=",", affixes=("€",))


class Sales(pa.DataFrameModel):
    day: str = time(written=Written(header="Day"))
    shop: str = identifier(written=Written(header="Shop No", missing=("-",)))
    paid: float = feature(sensitivity="plain", nullable=True, written=EUROS)
    card: bool = feature(sensitivity="plain", written=Written(flags={"Y": True, "": False}))
    pieces: int = target(written=Written(header="Pieces", decimal=",", thousands="."))


SALES = Problem(name="sales", title="Sales", task="regression", schema=Sales, estimator=Ridge, metric="rmse")
WRITTEN = {
    "Day": ["2026-01-01", "2026-01-02"], "Shop No": ["007", "x"], "paid": ["1,5 €", "NA"], "card": ["Y", None],
    "Pieces": ["1.200", "7"], "no": [1, 2],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder", "database"])
def test_a_source_gives_the_schemas_rows(tmp_path, kind):
    """Names, numbers, flags and gaps: as they are declared, from any kind of source."""
    table, where = pd.DataFrame(WRITTEN), DataSettings(source=f"sales.{kind}") if kind in ("csv", "parquet") else None
    if kind == "csv":
        table.to_csv(tmp_path / "sales.csv", index=False)
    elif kind == "parquet":
        table.assign(paid=[value.encode() for value in WRITTEN["paid"]]).to_parquet(tmp_path / "sales.parquet")
    elif kind == "folder":
        for name, part in table.groupby("Shop No"):
            (tmp_path / "sales" / f"Shop No={name}").mkdir(parents=True)
            part.drop(columns="Shop No").to_parquet(tmp_path / "sales" / f"Shop No={name}" / "part-0.parquet")
        where = DataSettings(source="sales/")
    else:
        with closing(sqlite3.connect(tmp_path / "sales.db")) as database:
            table.to_sql("sales", database, index=False)
        where = DataSettings(source="sqlite:///sales.db", query="SELECT * FROM sales")
    assert where is not None
    rows = open_source(where, tmp_path, SALES).read()[["day", "shop", "paid", "card", "pieces", "no"]]
    assert rows.astype(object).where(rows.notna(), None).to_numpy().tolist() == [
        ["2026-01-01", "007", 1.5, True, 1200, 1], ["2026-01-02", "x", None, False, 7, 2]
    ]  # fmt: skip
    assert [rows[name].dtype for name in ("paid", "card", "pieces")] == ["float64", "bool", "int64"]
