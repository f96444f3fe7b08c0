"""A folder of Parquet scored on a cluster of Spark: the kit beside MLflow's function of the same version, in turn.

    make bench-spark                three rounds of two sizes; writes docs/benchmarks/spark.md
    make bench-spark ROWS=100000    one size; writes nothing

The cluster is one master and two workers on loopback, started for this; --master names another, such as local[*].
All read the same files and write Parquet; both ways on Spark share a session, which is warm. The champion is read where
`starterkit predict` finds it. What a session's start costs is said apart, and what one machine needs without it.
Processors are counted too, over all Javas and Pythons started here: they tell the same where others use the machine.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import psutil
from batch import write_rows
from pyarrow import dataset, parquet
from standalone import standalone

from starterkit.cli.champion import fetched_champion
from starterkit.serving.batch import BatchScorer
from starterkit.serving.batch.spark import SparkScorer
from starterkit.serving.predictor import Predictor
from starterkit.settings import load_settings
from starterkit.tracking.connection import local_store

FILES = 8
SIZES = [10_000, 3_000_000]
KIT, MLFLOW, ALONE = "starterkit, Spark", "mlflow.pyfunc.spark_udf", "starterkit, one machine"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "spark.md"


@dataclass(frozen=True)
class Way:
    """One way to score the folder, and what it took each time: seconds, and seconds of processors."""

    name: str
    run: Callable[[], object]
    seconds: list[float]
    cpu: list[float]

    def measure(self) -> None:
        began, at_work = time.perf_counter(), _processors()
        self.run()
        self.seconds.append(time.perf_counter() - began)
        self.cpu.append(_processors() - at_work)


def _processors() -> float:
    """Seconds that this process, Java and the Pythons below it have worked."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master")
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with TemporaryDirectory(prefix="starterkit-bench-") as scratch:
        if given.master:
            compare(given.master, Path(scratch), given.rows, given.rounds)
        else:
            with standalone(Path(scratch)) as master:
                compare(master, Path(scratch), given.rows, given.rounds)


def compare(master: str, folder: Path, sizes: list[int], rounds: int) -> None:
    settings = load_settings()
    store = local_store(settings.tracking, settings.root)
    mlflow.set_tracking_uri(f"sqlite:///{store.database}" if store else settings.tracking.uri)
    from pyspark.sql import SparkSession, functions

    began = time.perf_counter()
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    spark = SparkSession.builder.master(master).config(map=quiet).getOrCreate()
    spark.range(2).mapInArrow(lambda batches: batches, "id long").collect()
    start = time.perf_counter() - began
    cores = spark.sparkContext.defaultParallelism
    print(f"Spark {spark.version} at {master}, {cores} cores, started in {start:.1f} s", flush=True)
    with fetched_champion() as model:
        predictor = Predictor(model.folder)
        answer = mlflow.pyfunc.spark_udf(spark, f"models:/{model.model}@champion", env_manager="local")
        by_spark = SparkScorer(model.folder, master=master)
        inputs = functions.struct(*predictor.contract.names)
        source = folder / "in"

        def by_mlflow() -> None:
            rows = spark.read.parquet(str(source))
            rows.withColumn("prediction", answer(inputs)).write.parquet(str(folder / "mlflow"))

        runs: dict[str, Callable[[], object]] = {
            KIT: lambda: by_spark.score(source, folder / "kit"),
            MLFLOW: by_mlflow,
            ALONE: lambda: BatchScorer(predictor).score(source, folder / "one"),
        }
        lines, medians = [], []
        for warm, rows in [(True, 10_000), *((False, rows) for rows in sizes)]:
            rmtree(source, ignore_errors=True)
            source.mkdir()
            write_rows(predictor.contract, folder / "all.parquet", rows)
            table, size = parquet.read_table(folder / "all.parquet"), rows // FILES
            for number in range(FILES):
                parquet.write_table(table.slice(number * size, size), source / f"{number}.parquet")
            ways = [Way(name, run, [], []) for name, run in runs.items()]
            for _ in range(1 if warm else rounds):
                for name in ("kit", "one", "mlflow"):
                    rmtree(folder / name, ignore_errors=True)
                for way in ways:
                    way.measure()
            if warm:
                continue
            medians.append((rows, {way.name: statistics.median(way.seconds) for way in ways}))
            for way in ways:
                wall, cpu = (
                    statistics.median(a / b for a, b in zip(other, own, strict=True))
                    for other, own in ((way.seconds, ways[0].seconds), (way.cpu, ways[0].cpu))
                )
                took, worked = statistics.median(way.seconds), 1e6 * statistics.median(way.cpu) / rows
                figures = f"{took:.1f} | {rows / took:,.0f} | {worked:.1f} | {wall:.2f} | {cpu:.2f}"
                line = f"| {rows:,} | {way.name} | {figures} |"
                lines.append(line)
                print(line, flush=True)
            kit, one, udf = (dataset.dataset(folder / name).to_table() for name in ("kit", "one", "mlflow"))
            told = [
                table.sort_by([("record", "ascending"), ("age", "ascending")])["prediction"] for table in (kit, udf)
            ]
            apart = float(np.max(np.abs(np.subtract(*(np.asarray(one) for one in told)))))
            print(f"  equal to one machine's: {kit.equals(one)}; from MLflow's at most {apart:.2g}", flush=True)
    spark.stop()
    crossings = _crossings(medians, start, cores)
    print(crossings)
    if sizes == SIZES:
        about = f"A session starts in {start:.1f} s. Medians of one run, rounds: {rounds}"
        PAGE.write_text(_page(master, cores, about, lines, crossings, kit.equals(one), apart), "utf-8")


def _crossings(medians: list[tuple[int, dict[str, float]]], start: float, cores: int) -> str:
    """From how many rows on a larger cluster ends first, by what a row and a start cost here."""
    (few, at_first), (many, at_last) = medians[0], medians[-1]
    if few == many:
        return ""
    slope = {name: (at_last[name] - at_first[name]) / (many - few) for name in (KIT, ALONE)}
    fixed = start + at_first[KIT] - few * slope[KIT] - (at_first[ALONE] - few * slope[ALONE])
    told = []
    for times in (1, 2, 4, 16):
        gain = slope[ALONE] - slope[KIT] / times
        told.append(f"| {times * cores} | {'never' if gain <= 0 else f'{round(fixed / gain, -5):,.0f}'} |")
    return "\n".join(["| the cluster's cores | rows |", "|---|---|", *told])


def _page(master: str, cores: int, about: str, lines: list[str], crossings: str, equal: bool, apart: float) -> str:
    where = f"at `{master}`" if "127.0.0.1" not in master else "in a cluster of one master and two workers on loopback,"
    return f"""# How fast Spark scores files

A folder of {FILES} Parquet files, rows drawn over what the champion allows, read and written by each way in turn
on {platform.machine()}, Spark {version("pyspark")} {where} with {cores} cores, warm.
{about}; ratios are those of a round. Written by `make bench-spark`.
Where others use the machine meanwhile, the processors' time tells more than the clock.

| rows | way | s | rows/s | CPU µs a row | times the kit's time on Spark | times its CPU |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

The kit's files on Spark are {"equal to" if equal else "not those of"} one machine's, bit for bit. MLflow's answers are
at most {apart:.2g} away.

## When Spark is worth it

One machine with {cores} cores against a cluster, calculated from what a row and a start cost above, not run:

{crossings}
"""


if __name__ == "__main__":
    main()
