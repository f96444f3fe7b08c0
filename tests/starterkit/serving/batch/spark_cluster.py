"""A real standalone cluster of one master and two workers; a driver that is killed, and an executor."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from pyspark.sql import SparkSession, functions
from standalone import standalone, until

from starterkit.errors import UserError
from starterkit.serving.batch import BatchScorer, spark
from starterkit.serving.batch.cluster import require_spark
from starterkit.serving.predictor import Predictor

ROWS, PIECE = 300_000, 500_000
KILLED = f"""
import sys
from pathlib import Path
from starterkit.serving.batch import spark
spark.PIECE_BYTES = {PIECE}
folder, master, source, destination = sys.argv[1:]
spark.SparkScorer(Path(folder), master=master).score(Path(source), Path(destination), bad_rows="aside")
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """Java in its smallest form: it starts in half of the time."""
    try:
        require_spark()
    except UserError as error:
        pytest.skip(f"not run: {error}")
    os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
    with standalone(tmp_path_factory.mktemp("spark")) as address:
        yield address


@pytest.fixture(scope="module")
def session(master):
    """As in a notebook: what comes later goes on with it."""
    made = SparkSession.builder.master(master).config("spark.ui.enabled", "false").getOrCreate()
    yield made
    made.stop()


def executors():
    """The processes of executors that the workers of this test started."""
    mine = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in mine if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline())]


def drawn(contract, count):
    """Columns within the contract's ranges; whole numbers among them that are no category of theirs."""
    random = np.random.default_rng(7)
    columns = {}
    for column in contract.columns:
        values = random.uniform(column.minimum or 0, column.maximum or 1, count).round(4)
        columns[column.name] = values.round().astype(int) if column.type == "integer" else values
    return columns


def test_a_driver_and_an_executor_are_killed(master, request, first_run, tmp_path, monkeypatch):
    root, _ = first_run
    model = next(root.rglob("contract.json")).parent
    source, destination = tmp_path / "in.csv", tmp_path / "out.csv"
    csv.write_csv(pa.table(drawn(Predictor(model).contract, ROWS)), source)
    pieces = tmp_path / ".out.csv.partial"
    done = lambda: len(list(pieces.glob("pieces-*/*.json")))  # noqa: E731

    driver = subprocess.Popen([sys.executable, "-c", KILLED, model, master, source, destination])
    until(done)
    java = [one for one in psutil.Process(driver.pid).children(recursive=True) if "java" in one.name()]
    for process in (*java, driver):
        process.kill()
    driver.wait()
    assert not destination.exists()
    came = until(done)

    monkeypatch.setattr(spark, "PIECE_BYTES", PIECE)
    killed = []

    def kill_one(event):
        if event.step == "score" and event.state == "went on" and not killed:
            killed.extend(executors()[:1])
            killed[0].kill()

    request.getfixturevalue("session")
    scorer = spark.SparkScorer(model, master=master, progress=kill_one)
    outcome = scorer.score(source, destination, bad_rows="aside")
    assert killed
    assert came
    alone = BatchScorer(Predictor(model)).score(source, tmp_path / "one.csv", bad_rows="aside")
    assert (outcome.rows, outcome.bad) == (ROWS, alone.bad)
    assert alone.bad > 1_000  # whose category is none
    assert destination.read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert (tmp_path / "out.bad.csv").read_bytes() == (tmp_path / "one.bad.csv").read_bytes()
    assert not pieces.exists()


def test_the_version_answers_as_a_function_of_spark_too(session, first_run, tmp_path):
    root = Path(shutil.copytree(first_run[0], tmp_path / "copy"))
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    model = Predictor(next(root.rglob("contract.json")).parent)
    columns = drawn(model.contract, 20)
    columns |= {one.name: np.resize(one.categories, 20) for one in model.contract.columns if one.categories}
    parquet.write_table(pa.table(columns), tmp_path / "in.parquet")
    answer = mlflow.pyfunc.spark_udf(session, "models:/local.diabetes@champion", env_manager="local")
    rows = session.read.parquet(str(tmp_path / "in.parquet"))
    said = rows.select(answer(functions.struct(*columns)).alias("answer")).toPandas()["answer"]
    assert said.tolist() == model.predict(columns).values.tolist()


def test_without_java_or_pyspark_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UserError, match=r"^Spark needs Java, and there is none\. Install Java 17 or newer"):
        require_spark()
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(UserError, match="needs Java, and there is none in JAVA_HOME=/nowhere"):
        require_spark()
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UserError, match=r"is not installed\. Install pyspark 4, as docs/spark\.md says"):
        require_spark()


@pytest.mark.parametrize("package", ["Pandas", "PyArrow"])
def test_a_package_too_old_for_spark_is_named(monkeypatch, package):
    monkeypatch.setattr(f"{package.lower()}.__version__", "1.0.0")
    with pytest.raises(UserError, match=rf"pyspark [\d.]+ does not fit: {package} >= .* Install versions that fit"):
        require_spark()


def test_executors_with_another_numpy_are_named_before_the_job(first_run, tmp_path, kit):
    (tmp_path / "numpy-1.0.dist-info").mkdir()
    (tmp_path / "numpy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    contract = Predictor(next(first_run[0].rglob("contract.json")).parent).contract
    csv.write_csv(pa.table(drawn(contract, 9)), tmp_path / "in.csv")
    words = ("predict", tmp_path / "in.csv", tmp_path / "out.csv", "--engine", "spark", "--master", "local[1]")
    told = kit(first_run[0], *words, PYSPARK_PYTHON=str(other))
    assert "the executors have numpy 1.0, the driver has" in told.stderr
    assert (bool(told.returncode), "Traceback" in told.stderr) == (True, False)
    assert not (tmp_path / "out.csv").exists()
