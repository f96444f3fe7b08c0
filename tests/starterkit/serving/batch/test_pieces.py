"""Pieces of files scored apart and joined, as executors do it but in this process: the files that one machine makes."""

import gzip
from contextlib import nullcontext

import pyarrow as pa
import pytest
from pyarrow import parquet

from starterkit.errors import DataError
from starterkit.serving.batch import BatchScorer, spark
from starterkit.serving.predictor import Predictor

pytestmark = pytest.mark.usefixtures("small_steps")
HEADER, REST, TORN = b"insured,note,city,ward,smoker,children,income\n", b",NA,a,false,,\n", b"true\n"
GOOD = b'true,"a\nbreak"' + REST + b"0,007" + REST
FILES = {
    "quoted.csv": HEADER + GOOD * 300,
    "torn.csv": HEADER + TORN + GOOD * 100 + TORN * 2 + GOOD * 100 + b"1,no end,NA,a,false,,",
    "packed.csv.gz": gzip.compress(HEADER + GOOD * 50, mtime=0),
    "wide.csv": (HEADER + GOOD * 50).decode().encode("utf-16"),
}


class InThisProcess:
    """A piece after the other, from the last to the first; the first run ends after some."""

    def __init__(self, most: int) -> None:
        self.most = most

    def run(self, work, numbers, note=None, given=None):
        for number in sorted(numbers, reverse=True)[: self.most]:
            work(given, number)
        if len(numbers) > self.most:
            raise KeyboardInterrupt


@pytest.fixture
def scorers(monkeypatch, other_model):
    monkeypatch.setattr(spark, "PIECE_BYTES", 1_000)

    def by_pieces(*arguments, most=1_000, **how):
        monkeypatch.setattr(spark, "cluster", lambda *_: nullcontext(InThisProcess(most)))
        return spark.SparkScorer(other_model).score(*arguments, **how)

    return by_pieces, BatchScorer(Predictor(other_model)).score


@pytest.mark.parametrize("name", FILES)
def test_a_csv_file_is_the_one_that_a_machine_makes(scorers, folder, name):
    (folder / name).write_bytes(FILES[name])
    by_pieces, alone = scorers
    assert alone(folder / name, folder / f"one-{name}", bad_rows="aside").rows > 90
    if name.startswith(("quoted", "torn")):
        with pytest.raises(KeyboardInterrupt):
            by_pieces(folder / name, folder / f"two-{name}", bad_rows="aside", most=2)
        assert not (folder / f"two-{name}").exists()
    by_pieces(folder / name, folder / f"two-{name}", bad_rows="aside")
    names = sorted(path.name for path in folder.iterdir())
    for made in (one for one in names if one.startswith("one-")):
        content = [(folder / one).read_bytes() for one in (made, made.replace("one-", "two-"))]
        assert content[0] == content[1] or [*map(gzip.decompress, content)] == [gzip.decompress(content[0])] * 2
    assert len(names) == (5 if name == "torn.csv" else 3)


def test_a_folder_of_parquet_has_its_rows_in_order(scorers, files, visits_rows):
    flags = [True, False, None] * 140
    for part, size in (("a", 30), ("b", 400)):  # in many pieces, and in one
        (files.folder / "in" / f"part={part}").mkdir(parents=True)
        table = visits_rows.set_column(visits_rows.column_names.index("insured"), "insured", pa.array(flags[:400]))
        parquet.write_table(table, files.folder / "in" / f"part={part}" / "0.parquet", row_group_size=size)
    places = [files.folder / name for name in "01"]
    one, two = (score(files.folder / "in", to, bad_rows="aside") for score, to in zip(scorers, places, strict=True))
    assert one.rows == two.rows == 800
    assert one.bad == two.bad > 200
    assert parquet.read_table(places[0]).equals(parquet.read_table(places[1]))
    assert (files.folder / "0.bad.csv").read_bytes() == (files.folder / "1.bad.csv").read_bytes()


def test_the_first_bad_row_stops_it_and_is_named_as_on_one_machine(scorers, folder):
    (folder / "in.csv").write_bytes(FILES["torn.csv"].replace(TORN, b"", 1))
    said = []
    for score in scorers:
        with pytest.raises(DataError) as refusal:
            score(folder / "in.csv", folder / "out.csv")
        said.append(str(refusal.value))
    assert said[0] == said[1]
    assert "row 200" in said[0]
    assert not (folder / "out.csv").exists()
