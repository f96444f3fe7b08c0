"""A file of made-up rows scored three ways, each a whole process: this kit, `mlflow models predict`, `pyfunc.predict`.

    python bench/batch.py [--folder FOLDER] [--rows N] [--rounds N] [--only-kit]

All are given the same model in the same way: its exported folder, and then the champion by name, which each has to find
and fetch. With --folder there is no champion, and the folder alone. In each round every way runs once, in turn, so that
whatever else the machine does meets all of them. Peak memory is the child's ru_maxrss, which the kernel counts; it
starts from this process's own size, so nothing large is loaded here.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from starterkit.cli.champion import Fetched, fetched_champion
from starterkit.contract import Column, Contract
from starterkit.settings import load_settings
from starterkit.tracking.connection import local_store

CHUNK = 100_000
KINDS = ("csv", "parquet")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
PYFUNC = """
import sys
import mlflow, pandas as pd
model, source, destination = sys.argv[1:]
rows = pd.read_csv(source) if source.endswith("csv") else pd.read_parquet(source)
answers = mlflow.pyfunc.load_model(model).predict(rows)
rows["prediction"] = answers.iloc[:, 0]
rows.to_csv(destination, index=False) if destination.endswith("csv") else rows.to_parquet(destination, index=False)
"""
THROUGH_CSV = """
import subprocess, sys
import pandas as pd
model, source, destination = sys.argv[1:]
pd.read_parquet(source).to_csv(source + ".csv", index=False)
flags = "--env-manager local --content-type csv".split()
command = [sys.executable, "-m", "mlflow", "models", "predict", *flags, "-m", model, "-i", source + ".csv"]
sys.exit(subprocess.run([*command, "-o", destination + ".json"]).returncode)
"""


@dataclass(frozen=True)
class Run:
    """One process: how long it took, how long the processors were at work, and the most memory that it held."""

    seconds: float
    at_work: float
    mebibytes: float


def main() -> None:
    arguments = _arguments()
    given = nullcontext(Fetched(arguments.folder, "", "")) if arguments.folder else fetched_champion()
    with given as model, TemporaryDirectory(prefix="starterkit-bench-", dir=arguments.scratch) as scratch:
        contract = Contract.from_json((model.folder / "contract.json").read_bytes())
        for kind in KINDS:
            source = Path(scratch) / f"in.{kind}"
            write_rows(contract, source, arguments.rows)
            size = source.stat().st_size / 2**20
            machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
            print(f"\n{arguments.rows:,} rows, {kind}, {size:,.0f} MiB, {machine}", flush=True)
            for given, ways in _givens(model, source, arguments.only_kit).items():
                print(f"  given {given}", flush=True)
                compare(ways, arguments.rounds)
            source.unlink()


def write_rows(contract: Contract, path: Path, rows: int) -> None:
    """Rows drawn evenly over what the contract allows, a chunk at a time, with an id that the model does not take."""
    random = np.random.default_rng(7)
    writer = None
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        columns = {"record": [f"R{number:09}" for number in range(first, first + count)]}
        table = pa.table(columns | {column.name: _draw(column, count, random) for column in contract.columns})
        if writer is None:
            make = csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter
            writer = make(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def compare(ways: dict[str, Sequence[str]], rounds: int) -> None:
    """Every way once a round; medians, and the ratio to the kit's in the same round."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, command in ways.items():
            runs[name].append(measure(command))
    first = next(iter(runs.values()))
    for name, measured in runs.items():
        seconds = statistics.median(run.seconds for run in measured)
        at_work = statistics.median(run.at_work for run in measured)
        ratios = sorted(other.seconds / own.seconds for other, own in zip(measured, first, strict=True))
        peak = max(run.mebibytes for run in measured)
        ratio = f"{statistics.median(ratios):5.2f} times the kit's ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"    {name:<30} {seconds:7.1f} s {at_work:7.1f} s of cpu {peak:7,.0f} MiB  {ratio}", flush=True)


def measure(command: Sequence[str]) -> Run:
    """Run a command to its end. A child's children count for themselves: the largest process is what is reported."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command[:6])} failed:\n{process.stderr.read().decode() if process.stderr else ''}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _givens(model: Fetched, source: Path, only_kit: bool) -> dict[str, dict[str, Sequence[str]]]:
    """What all are given, and the ways to go from there."""
    found = {"the exported folder": _ways(str(model.folder), ["--folder", str(model.folder)], source, only_kit)}
    if model.model:
        settings = load_settings()
        store = local_store(settings.tracking, settings.root)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store.database}" if store else settings.tracking.uri
        found["the champion by name"] = _ways(f"models:/{model.model}@champion", [], source, only_kit)
    return found


def _ways(model: str, option: Sequence[str], source: Path, only_kit: bool) -> dict[str, Sequence[str]]:
    given, out = str(source), f"{source.with_name('out')}{source.suffix}"
    kit = [sys.executable, "-m", "starterkit", "predict", given, out, "--overwrite", *option]
    mlflow = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local", "-m", model]
    mlflow += ["--content-type", "csv", "-i", given, "-o", f"{out}.json"]
    pyfunc = [sys.executable, "-c", PYFUNC, model, given, out]
    ways: dict[str, Sequence[str]] = {"starterkit predict": kit}
    if not only_kit:
        through_csv = [sys.executable, "-c", THROUGH_CSV, model, given, out]
        ways["mlflow models predict"] = mlflow if source.suffix == ".csv" else through_csv
        ways["pyfunc.load_model(…).predict"] = pyfunc
    return ways


def _draw(column: Column, rows: int, random: np.random.Generator) -> pa.Array:
    if column.categories:
        return pa.array(random.choice(np.array(column.categories), rows))
    if column.type == "boolean":
        return pa.array(random.random(rows) < 0.5)
    low, high = column.minimum or 0.0, 1.0 if column.maximum is None else column.maximum
    values = random.uniform(low, high, rows).round(4)
    return pa.array(values.round().astype(np.int64) if column.type == "integer" else values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="an exported model instead of the champion")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-kit", action="store_true", help="measure memory alone, with far more rows")
    parser.add_argument("--scratch", type=Path, help="a folder with room for the files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
