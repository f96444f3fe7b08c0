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
from starterkit.data.sources import CsvFile, open_source
from starterkit.errors import DataError
from starterkit.problem import Problem, Written, feature, identifier, target, time
from starterkit.settings import DataSettings, DialectSettings, Stage

PASSWORD = "correct horse"
QUERY = "SELECT * FROM patients WHERE 'hidden' = 'hidden'"


@pytest.fixture(scope="module")
def warehouse(diabetes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    csv, *others = (DatasetReader(problem, source, warehouse, Stage.LOCAL).read() for source in sources)
    for other in others:
        assert (csv.digest, csv.holdout.digest) == (other.digest, other.holdout.digest)
        pd.testing.assert_frame_equal(csv.training.features, other.training.features)
    text = (warehouse / "patients.csv").read_text()
    (tmp_path / "patients.csv").write_text(text.replace("007,59", "007,60"))
    after = DatasetReader(problem, settings("patients.csv"), tmp_path, Stage.LOCAL).read()
    assert csv.digest != after.digest
    assert (csv.training.digest == after.training.digest) != (csv.holdout.digest == after.holdout.digest)


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
        ("gone.csv", None, "data file 'gone.csv' does not exist"),
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
        ("text.parquet", b"visit,city\n1,2\n", "cannot be read"),
        ("cut.parquet", "cut", "cannot be read"),
        ("spoilt.parquet", "spoilt", "spoilt.parquet"),
        ("folder.csv", "folder", "is a folder without Parquet files"),
    ],
)
def test_a_broken_file_is_one_clear_error(visits, problem, tmp_path, name, content, named):
    path, whole = tmp_path / name, (visits.root / "table.parquet").read_bytes()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        spoilt = {"cut": whole[: len(whole) // 2], "spoilt": whole[:20] + bytes(380) + whole[400:]}
        path.write_bytes(spoilt.get(content, content))
    with pytest.raises(DataError) as refusal:
        DatasetReader(problem, settings(name), tmp_path, Stage.LOCAL).read()
    assert named in refusal.value.what
    assert refusal.value.hint
    assert "\n" not in str(refusal.value)
    assert "Miller" not in str(refusal.value)


def test_another_kind_of_file_is_one_clear_error(problem, tmp_path):
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match=r"Use \.csv, .* or a database address"):
        open_source(DataSettings.model_construct(source="table.xlsx"), tmp_path, problem)


@pytest.mark.parametrize(
    ("address", "query", "named"),
    [
        ("sqlite:///patients.db", "SELECT hidden FROM nowhere", "no such table: nowhere"),
        ("sqlite:///patients.db", "SELEKT hidden", "syntax error"),
        ("sqlite:///patients.db", "DELETE FROM patients", "does not return rows"),
        ("sqlite:///patients.db", "SELECT *, age AS age FROM patients", "age is there more than once"),
        ("sqlite:///gone.db", QUERY, "'gone.db' does not exist"),
        ("sqlite:///patients.csv", QUERY, "file is not a database"),
        ("nosuchdatabase://user@host/name", QUERY, "nosuchdatabase"),
        ("postgresql+pg8000://user@host/name", QUERY, "make add PKG="),
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
def test_a_password_in_the_address_is_not_recorded(diabetes, warehouse):
    problem, address = diabetes.problem(lambda: None), "sqlite:///patients.db"
    dataset = DatasetReader(problem, settings(f"{address}?password={PASSWORD}", QUERY), warehouse, Stage.LOCAL).read()
    assert dataset.source == f"{address}?password=***"


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
    table = pd.DataFrame(WRITTEN)
    if kind == "csv":
        table.to_csv(tmp_path / "sales.csv", index=False)
    elif kind == "parquet":
        named = table.assign(paid=[value.encode() for value in WRITTEN["paid"]]).set_index("Shop No")
        named.to_parquet(tmp_path / "sales.parquet")  # an index with a name is a column
    elif kind == "folder":
        for name, part in table.groupby("Shop No"):
            (tmp_path / "sales" / f"Shop No={name}").mkdir(parents=True)
            part.drop(columns="Shop No").to_parquet(tmp_path / "sales" / f"Shop No={name}" / "part-0.parquet")
    else:
        with closing(sqlite3.connect(tmp_path / "sales.db")) as database:
            table.to_sql("sales", database, index=False)
    named = {"folder": "sales/", "database": "sqlite:///sales.db"}.get(kind, f"sales.{kind}")
    where = DataSettings(source=named, query="SELECT * FROM sales" if kind == "database" else None)
    rows = open_source(where, tmp_path, SALES).read()[["day", "shop", "paid", "card", "pieces", "no"]]
    assert rows.astype(object).where(rows.notna(), None).to_numpy().tolist() == [
        ["2026-01-01", "007", 1.5, True, 1200, 1], ["2026-01-02", "x", None, False, 7, 2]
    ]  # fmt: skip
    assert [rows[name].dtype for name in ("paid", "card", "pieces")] == ["float64", "bool", "int64"]
