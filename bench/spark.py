"""A Parquet file scored on a cluster of Spark: the kit's pieces beside MLflow's function of the same version, in turn.

    python bench/spark.py [--master MASTER] [--rows N …] [--rounds N]

Both read the same file, on the same session, and write Parquet; the champion is read where `starterkit predict` finds
it. What starting Spark costs is said apart, and what one machine needs for the same file without it.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import mlflow
import pyarrow.compute as pc
from batch import write_rows
from pyarrow import parquet

from starterkit.cli.champion import fetched_champion
from starterkit.serving.batch.scorer import BatchScorer
from starterkit.serving.batch.spark import SparkScorer
from starterkit.serving.predictor import Predictor
from starterkit.settings import load_settings
from starterkit.tracking.connection import local_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local[*]")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = load_settings()
    store = local_store(settings.tracking, settings.root)
    mlflow.set_tracking_uri(f"sqlite:///{store.database}" if store else settings.tracking.uri)
    from pyspark.sql import SparkSession, functions

    began = time.perf_counter()
    spark = SparkSession.builder.master(given.master).config("spark.ui.enabled", "false").getOrCreate()
    spark.range(2).mapInArrow(lambda batches: batches, "id long").collect()
    print(f"Spark {spark.version} at {given.master}, started in {time.perf_counter() - began:.1f} s", flush=True)
    with fetched_champion() as model, TemporaryDirectory(prefix="starterkit-bench-") as scratch:
        predictor, folder = Predictor(model.folder), Path(scratch)
        answer = mlflow.pyfunc.spark_udf(spark, f"models:/{model.model}@champion", env_manager="local")
        by_spark = SparkScorer(model.folder, master=given.master)
        inputs = functions.struct(*predictor.contract.names)
        source = folder / "in.parquet"

        def by_mlflow() -> None:
            rows = spark.read.parquet(str(source))
            rows.withColumn("prediction", answer(inputs)).write.parquet(str(folder / "mlflow"))

        ways: dict[str, Callable[[], object]] = {
            "starterkit, Spark": lambda: by_spark.score(source, folder / "kit.parquet"),
            "mlflow.pyfunc.spark_udf": by_mlflow,
            "starterkit, one machine": lambda: BatchScorer(predictor).score(source, folder / "one.parquet"),
        }
        for rows in given.rows:
            write_rows(predictor.contract, source, rows)
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(given.rounds):
                for name in ("kit.parquet", "one.parquet"):
                    (folder / name).unlink(missing_ok=True)
                rmtree(folder / "mlflow", ignore_errors=True)
                for name, run in ways.items():
                    began = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - began)
            print(f"\n{rows:,} rows, load {os.getloadavg()[0]:.1f}", flush=True)
            for name, taken in seconds.items():
                ratios = [other / own for other, own in zip(taken, seconds["starterkit, Spark"], strict=True)]
                median = statistics.median(taken)
                ratio = f"{statistics.median(ratios):5.2f} times the kit's on Spark"
                print(f"  {name:<26} {median:7.1f} s {rows / median:10,.0f} rows/s  {ratio}")
            kit, one = (parquet.read_table(folder / f"{name}.parquet") for name in ("kit", "one"))
            udf = parquet.read_table(folder / "mlflow").sort_by("record")
            same = pc.all(pc.equal(kit.sort_by("record")["prediction"], udf["prediction"].combine_chunks())).as_py()
            print(f"  bit-equal to one machine's: {kit.equals(one)}; to MLflow's: {same}", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
