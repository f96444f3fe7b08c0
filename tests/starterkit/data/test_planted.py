"""Values of one person are planted in the data and looked for in everything that a run in dev and in test leaves.

Looked at: every file of the repository but the source and the secrets, archives and Parquet files unpacked, the
tables of databases, the MLflow server's store, artifacts and log, and what the commands print.
"""

import gzip
import io
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
NAMES = ("PLANTED-7Q9X", "Zoë Planted")
INCOME, PROGRESSION = 7_654_321, 487.130571
TREE = """
from dataclasses import replace

def tree(
    *, n_estimators: int = 1, learning_rate: float = 1, max_depth: int = 1, subsample: float = 1, random_state: int = 0
) -> Pipeline:
    from sklearn.tree import DecisionTreeRegressor

    return make_pipeline(DecisionTreeRegressor(random_state=random_state))


problem = replace(problem, estimator=tree)
"""
COLUMN = '    income: int = feature(sensitivity="sensitive", ge=0, le=9_999_999)\n'


def needles() -> list[bytes]:
    texts = [*NAMES, str(INCOME), f"{INCOME:,}", f"{INCOME:_}", str(float(INCOME)), str(PROGRESSION), "487.1305"]
    found = [text.encode(code) for text in texts for code in ("utf-8", "utf-16-le")]
    found += [struct.pack(f"{order}d", number) for number in (INCOME, PROGRESSION) for order in "<>"]
    found += [struct.pack(kind, INCOME) for kind in ("<q", "<i", "<f")]  # below 2**24 a whole float32 is exact
    return [*found, struct.pack("<f", PROGRESSION), b"Zo\\u00eb Planted"]  # as JSON has it


NEEDLES = needles()


def seen_in(content: bytes, name: str) -> Iterator[str]:
    """Where a planted value is in a file, however it is packed."""
    for needle in NEEDLES:
        if needle in content:
            yield f"{name}: {needle!r}"
    for signature, unpack in KINDS.items():
        if content.startswith(signature):
            yield from unpack(content, name)


def in_archive(content: bytes, name: str) -> Iterator[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            yield from seen_in(archive.read(member), f"{name}/{member}")


def in_parquet(content: bytes, name: str) -> Iterator[str]:
    frame = pd.read_parquet(io.BytesIO(content))
    yield from seen_in(frame.to_csv().encode(), f"{name} as text")
    for column in frame.select_dtypes("number"):
        yield from numbers_in(frame[column].to_numpy(), f"{name}, {column}")


def numbers_in(values: Any, name: str) -> Iterator[str]:
    if values.dtype.kind in "iuf" and any(np.isclose(values, one, rtol=1e-7).any() for one in (INCOME, PROGRESSION)):
        yield f"{name}: a number"


def in_database(content: bytes, name: str) -> Iterator[str]:
    if Path(name).is_file():
        with sqlite3.connect(f"file:{name}?mode=ro", uri=True) as database:
            yield from seen_in("\n".join(database.iterdump()).encode(), f"{name} as text")


KINDS = {
    b"PK\x03\x04": in_archive,
    b"\x1f\x8b": lambda content, name: seen_in(gzip.decompress(content), f"{name} unpacked"),
    b"PAR1": in_parquet,
    b"\x93NUMPY": lambda content, name: numbers_in(np.load(io.BytesIO(content), allow_pickle=False), name),
    b"SQLite format 3": in_database,
}
EVERYTHING = ("run", "doctor", "lineage 1")


def seen_below(folder: Path, but: Iterable[Path] = ()) -> list[str]:
    passed = tuple(but)
    files = [file for file in folder.rglob("*") if file.is_file() and not any(map(file.is_relative_to, passed))]
    assert files
    return [found for file in files for found in seen_in(file.read_bytes(), str(file))]


@pytest.fixture
def planted(repository: Path) -> Path:
    """A repository with one more column, and one person whose values are nobody else's."""
    shutil.copytree(REPOSITORY / "src" / "example_project", repository / "code" / "example_project")
    code = repository / "code" / "example_project" / "problem.py"
    text = code.read_text("utf-8")
    assert text.count("\n    progression:") == 1
    # A tree that is as deep as it likes has a leaf for each person, with the very value of the target.
    code.write_text(text.replace("\n    progression:", f"\n{COLUMN}\n    progression:") + TREE, "utf-8")
    source = repository / "data" / "diabetes.csv"
    table = pd.read_csv(source).astype({"progression": float})
    table.insert(11, "income", np.random.default_rng(0).integers(20_000, 200_000, len(table)) * 10)
    from example_project import problem
    from starterkit.data.dataset import held_out

    side = held_out(problem, table)
    for row, name in zip((np.flatnonzero(~side)[5], np.flatnonzero(side)[5]), NAMES, strict=True):
        table.loc[row, ["patient_id", "income", "progression"]] = [name, INCOME, PROGRESSION]
    table.to_csv(source, index=False)
    base = repository / "config" / "base.yaml"
    base.write_text(base.read_text().replace("max: 65", "max: 90").replace("min: 0.3", "min: -1"))
    return repository


def command(root: Path, *commands: str, **environ: str) -> str:
    """The whole output of commands. The planted column is known to their processes alone."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_"))}
    given = {"PYTHONPATH": str(root / "code"), "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "DEBUG"}
    said = ""
    for words in commands:
        call = [sys.executable, "-m", "starterkit", *words.split()]
        env = clean | given | environ
        done = subprocess.run(call, cwd=root, env=env, text=True, capture_output=True, timeout=300, check=False)
        said += done.stdout + done.stderr
        assert done.returncode in (0, 1), said
    assert "Traceback" not in said, said
    assert "run" not in commands or "Champion" in said, said
    return said


def test_the_search_finds_what_is_packed(tmp_path):
    frame = pd.DataFrame({"who": [NAMES[1], "x"], "income": [INCOME, 1], "progression": [PROGRESSION, 1.0]})
    frame[["who"]].to_parquet(tmp_path / "a.parquet", compression="gzip")
    frame[["income"]].astype("float64").to_parquet(tmp_path / "b.parquet", compression="gzip")
    np.savez_compressed(tmp_path / "c.npz", values=frame.income.to_numpy())
    np.savez_compressed(tmp_path / "d.npz", values=frame.progression.to_numpy(np.float32))
    with gzip.open(tmp_path / "e.gz", "wb") as file:
        file.write(b"=487.130571=")
    with sqlite3.connect(tmp_path / "f.db") as database:
        frame.assign(who="x" * 6000 + frame.who).to_sql("t", database)
    (tmp_path / "g.json").write_text('{"who": "Zo\\u00eb Planted"}')
    for file in sorted(tmp_path.iterdir()):
        assert list(seen_in(file.read_bytes(), str(file))), file.name


def test_dev_leaves_nothing_of_a_person(planted):
    said = command(planted, *EVERYTHING, KIT_STAGE="dev", KIT_TRACKING__URI="sqlite:///mlflow.db")
    assert "in bands: age, sex, income, progression" in said
    assert list(seen_in(said.encode(), "what the commands print")) == []
    assert seen_below(planted, [planted / "data" / "diabetes.csv"]) == []


@pytest.mark.parametrize("sensitive", ["generalise", "mock"])
def test_test_leaves_nothing_of_a_person(planted, server, sensitive):
    config, raw = planted / "config" / "test.yaml", server.folder / "raw.csv"
    config.write_text(config.read_text() + f"\nprivacy:\n  sensitive: {sensitive}\n")
    said = command(planted, "data prepare --for test")
    (planted / "data" / "diabetes.csv").rename(raw)  # another machine has no source at all
    said += command(planted, *EVERYTHING, KIT_STAGE="test", KIT_TRACKING__URI=server.address)
    assert list(seen_in(said.encode(), "what the commands print")) == []
    assert seen_below(planted) == []
    assert seen_below(server.folder, [planted, raw]) == []


def test_local_shows_that_the_search_would_find_it(planted):
    """Where raw rows may be seen, this estimator does leave one: else the other tests would prove nothing."""
    command(planted, "run")
    assert seen_below(planted, [planted / "data"])
