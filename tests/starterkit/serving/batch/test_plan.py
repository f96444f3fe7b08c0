"""Every mistake that can be seen before a row is scored is one line with its hint, and costs no file."""

import gzip

import pyarrow as pa
import pytest

from starterkit.errors import DataError
from starterkit.serving.batch import BatchScorer
from starterkit.serving.batch.plan import plan_files

HEADER = "visit,city,ward,smoker,insured,children,income"
ROW = "007,Bonn,a,true,1,3,1e2"
KOELN = f"{ROW}\n".replace("Bonn", "Köln")


def refusal(predictor, source, destination, **how):
    before = {path: path.read_bytes() for path in source.parent.rglob("*") if path.is_file()}
    with pytest.raises(DataError) as refused:
        BatchScorer(predictor).score(source, destination, **how)
    assert {path: path.read_bytes() for path in source.parent.rglob("*") if path.is_file()} == before
    assert refused.value.hint
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (HEADER.encode(), "has no rows"),
        (f"{HEADER}\r\n\r\n".encode(), "has no rows"),
        (b"\x00\x01garbage", "holds zero bytes, as no text does"),
        (f"{HEADER}\n{ROW}\n".replace("Bonn", "\x81").encode("latin-1"), "neither UTF-8 nor cp1252. Save it as UTF-8"),
        (gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0)[:-9], "is damaged: it cannot be decompressed to its"),
        (f"{HEADER}\n{ROW}\n".encode("utf-32"), "is UTF-32 text. Save it as UTF-8"),
        (f"{HEADER}\n{ROW}\n".replace("\n", "\r").encode(), "has no rows"),
        (f"{HEADER}\n{ROW}\n".replace("income", "Income").encode(), "lacks the column 'income'. Did you mean 'Income'"),
        (f"visit\n{ROW}\n".encode(), "lacks the column 'city' (and 5 more). The model takes city, ward"),
        (f"{HEADER},prediction\n{ROW},1\n".encode(), "has a column 'prediction' already. Rename it"),
        (f"{HEADER},city\n{ROW},Ulm\n".encode(), "has two columns 'city'"),
        (f'{HEADER}\n{ROW}\n"open\n{ROW}\n'.encode(), "has a quote that is never closed"),
        (f"{HEADER}\n{KOELN * 100_000}".encode() + "ü,,,,,,\n".encode("latin-1"), "not encoded in UTF-8"),
    ],
    ids=range(14),
)
def test_a_useless_csv_file_is_named(visits_predictor, folder, content, said):
    (folder / "in.csv").write_bytes(content)
    how = {"bad_rows": "aside"} if "not encoded" in said else {}
    words = refusal(visits_predictor, folder / "in.csv", folder / "out.csv", **how)
    assert "in.csv" in words
    assert said in words
    assert "007" not in words


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow", "in.feather", "in.arrows"])
@pytest.mark.parametrize("content", [b"no such file", b"PAR1....PAR1", b"ARROW1\x00\x00....ARROW1", b"FEA1..."])
def test_a_file_that_is_not_what_its_name_says(visits_predictor, folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refusal(visits_predictor, folder / name, folder / "out.csv")


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow", "in.arrows"])
def test_a_typed_file_is_held_against_the_model(visits_predictor, visits_rows, files, name):
    for rows, said in ((visits_rows[:0], "has no rows"), (visits_rows.drop_columns("ward"), "lacks the column 'ward'")):
        source = files.write(rows, name)
        assert said in refusal(visits_predictor, source, files.folder / "out.csv")
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 2 // 3])
    assert name in refusal(visits_predictor, source, files.folder / "out.csv")


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("gone.csv", "out.csv", "gone.csv does not exist"),
        ("in.xlsx", "out.csv", "in.xlsx is of no known kind. Name a file that ends in .csv, .tsv, .parquet"),
        ("in.csv", "out.xlsx", "out.xlsx is of no known kind"),
        ("in.csv", "in.csv", "are the same"),
        ("in.csv", "nowhere/out.csv", "the folder of .*nowhere/out.csv does not exist"),
        ("in.csv", "parts", "parts is a folder"),
        ("in.csv", "there.csv", "there.csv exists already. Add --overwrite"),
        ("other.bad.csv", "other.csv", "other.bad.csv would be overwritten"),
        ("parts", "out.csv", "parts is a folder, and .*out.csv a file"),
        ("parts", "parts/out", "parts/out is inside"),
        ("parts", "parts", "are the same"),
        ("parts", "held", "held exists already"),
        ("mixed", "out", "mixed holds files of several kinds: 'a.csv' and 'b.parquet'"),
        ("deep", "out", "deep holds the folder 'year-2025'. Score each"),
        ("none", "out", "none holds no files"),
        ("some-empty", "out", "some-empty/b.csv is empty"),
        ("linked", "out", r"b\.csv leads to no file"),
    ],
)
def test_names_that_cannot_be(folder, source, destination, said):
    for name in ("in.csv", "in.xlsx", "there.csv", "other.bad.csv", "parts/a.csv", "mixed/a.csv", "mixed/b.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    for name in ("deep/year-2025", "none", "some-empty", "held", "linked"):
        (folder / name).mkdir(parents=True)
    (folder / "some-empty" / "a.csv").write_text("x")
    (folder / "some-empty" / "b.csv").touch()
    (folder / "linked" / "b.csv").symlink_to(folder / "gone.csv")
    with pytest.raises(DataError, match=said):
        plan_files(folder / source, folder / destination).refuse_what_exists()


def test_overwriting_replaces_what_it_would_have_written_and_nothing_else(visits_predictor, visits_rows, files):
    scorer, out = BatchScorer(visits_predictor), files.folder / "out"
    files.write(visits_rows, "in/a.csv")
    out.mkdir()
    for name in ("out.csv", "out.bad.csv", "out/a.csv"):
        (files.folder / name).write_text("earlier")
    for source, destination in (("in/a.csv", "out.csv"), ("in", "out")):
        scorer.score(files.folder / source, files.folder / destination, overwrite=True)
    assert len(files.read("out.csv")) == len(files.read("out/a.csv")) == 400
    assert files.names == ["in", "out", "out.csv"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds something else: 'notes\.txt'"):
        scorer.score(files.folder / "in", out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_column_that_the_other_kind_cannot_hold_and_a_damaged_journal_are_named(visits_predictor, visits_rows, files):
    month = pa.MonthDayNano((1, 2, 3))
    for value, made in (([1], "csv"), (b"\xff", "csv"), (month, "csv"), (month, "parquet")):
        table = visits_rows.append_column("more", pa.repeat(pa.scalar(value), len(visits_rows)))
        with pytest.raises(DataError, match=f"(?i)that {made} cannot hold"):
            BatchScorer(visits_predictor).score(files.write(table, "in.arrow"), files.folder / f"out.{made}")
        assert files.names == ["in.arrow"]
    source = files.write(visits_rows, "in.csv")
    (files.folder / ".out.csv.partial").mkdir()
    (files.folder / ".out.csv.partial" / "journal").write_bytes(b"no database" * 500)
    with pytest.raises(DataError, match=r"\.out\.csv\.partial, which an earlier run left, is damaged\. Remove it"):
        BatchScorer(visits_predictor).score(source, files.folder / "out.csv")
