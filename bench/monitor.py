"""A window of predictions summarised by the kit, beside evidently's drift preset: `make bench-monitor`.

    make bench-monitor                       ten million rows, beside evidently on 200,000 of the same columns
    make bench-monitor ROWS=1000000          fewer
    make bench-monitor ARGS=--only-kit       without evidently, whose environment takes a minute to make
    make bench-monitor ARGS=--errors         false alarms and misses alone, in 200 windows each of a thousand rows

evidently cannot be imported with the kit's pandas, so it has an environment of its own, made for the run and thrown
away: `build/bench-monitor`. Both see eight numbers, two texts and the answer. The kit also counts latency, volume and
labels, on every tenth row; evidently gets its frames ready made, and neither is charged for making rows.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "build" / "bench-monitor"
PINNED = ("evidently==0.7.23", "pandas<3")
NUMBERS = [f"number_{place}" for place in range(8)]
TEXTS = {"town": ["Bergen", "Oslo", "Tromsø", "Bodø"], "plan": ["basic", "plus", "pro"]}
REFERENCE = 50_000
AT_ONCE = 65_536
POOL = 8
WINDOWS = 200


def rows(count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of one world."""
    made = {name: random.normal(place, 1 + place, count) for place, name in enumerate(NUMBERS)}
    made |= {name: np.array(words, object)[random.integers(0, len(words), count)] for name, words in TEXTS.items()}
    return made | {"prediction": random.normal(0, 1, count)}


def monitor_of(random: np.random.Generator) -> Any:
    """The kit's, with a reference of the same world."""
    from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
    from starterkit.feedback.monitoring import Monitor
    from starterkit.feedback.reference import Reference
    from starterkit.feedback.tally import Watched
    from starterkit.metrics import METRICS

    def column(name: str) -> Column:
        kind, words = ("string", tuple(TEXTS[name])) if name in TEXTS else ("float", ())
        return Column(name=name, role="feature", type=kind, unit="", sensitivity="plain", categories=words)

    words = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")
    contract = Contract(
        problem="made-up", title="Made up", task="regression", columns=tuple(map(column, (*NUMBERS, *TEXTS))),
        target=column("target"), layout="columns", example={}, digests={},
        parity=Parity(rows=1, measure="", largest=0, allowed=1, scale=1),
        lineage=Lineage(dirty=False, **dict.fromkeys(words, "")),
    )  # fmt: skip
    reference = Reference.of(
        contract, rows(REFERENCE, random), Prediction(random.normal(0, 1, REFERENCE)), {"rmse": 1.0}, slices=("town",)
    )
    return Monitor(Watched("made-up", "1", contract, reference, (METRICS["rmse"],), METRICS["rmse"]))


def window() -> Any:
    from starterkit.feedback.observation import Window

    start = datetime(2026, 11, 1, tzinfo=UTC)
    return Window(start, start + timedelta(days=1))


def batch(made: dict[str, np.ndarray], random: np.random.Generator) -> Any:
    """Rows as the log gives them; a tenth has labels."""
    import pyarrow as pa

    count = len(made["prediction"])
    label = np.where(random.random(count) < 0.1, made["prediction"] + random.normal(0, 1, count), np.nan)
    columns = {
        "id": pa.array([n.to_bytes(16, "big") + bytes(4) for n in range(count)], pa.binary(20)),
        "time": pa.array(window().micros[0] + random.integers(0, 86_400_000_000, count), pa.timestamp("us", "UTC")),
        "version": pa.array(["1"] * count).dictionary_encode(),
        "key": pa.nulls(count, pa.string()),
        "latency": pa.array(random.lognormal(-6, 0.5, count)),
        **{name: pa.array(made[name]) for name in NUMBERS},
        **{name: pa.array(made[name], pa.string()).dictionary_encode() for name in TEXTS},
        "prediction": pa.array(made["prediction"]),
        "label": pa.array(label, from_pandas=True),
    }
    return pa.RecordBatch.from_pydict(columns)


def kit(count: int) -> dict[str, float]:
    """Ten million rows, in batches."""
    import pyarrow as pa

    random = np.random.default_rng(0)
    monitor = monitor_of(random)
    pool = [batch(rows(AT_ONCE, random), random) for _ in range(POOL)]

    def batches() -> Iterator[pa.RecordBatch]:
        for place in range(0, count, AT_ONCE):
            yield pool[place // AT_ONCE % POOL].slice(0, min(AT_ONCE, count - place))

    before = time.process_time()
    observed = monitor.observe(window(), batches())
    seconds = time.process_time() - before
    assert observed.rows == count
    return {"rows": count, "seconds": seconds, "megabytes": _megabytes()}


def errors(seed: int) -> tuple[int, int]:
    """Alarms in windows of a world that stands still, and windows in which half a standard deviation is not seen."""
    random = np.random.default_rng(seed)
    monitor, alarms, misses = monitor_of(random), 0, 0
    for place in range(WINDOWS):
        still, moved, name = rows(1000, random), rows(1000, random), NUMBERS[place % len(NUMBERS)]
        moved[name] = moved[name] + (1 + place % len(NUMBERS)) / 2
        seen = [monitor.observe(window(), [batch(made, random)]).drifts for made in (still, moved)]
        alarms += any(one.drifted for one in seen[0])
        misses += not any(one.drifted for one in seen[1] if one.column == name)
    return alarms, misses


def evidently(count: int) -> dict[str, float]:
    """Its drift preset over so many rows, in its own environment."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    random = np.random.default_rng(0)
    kinds = DataDefinition(numerical_columns=[*NUMBERS, "prediction"], categorical_columns=[*TEXTS])
    reference, current = (
        Dataset.from_pandas(pd.DataFrame(rows(size, random)), data_definition=kinds) for size in (REFERENCE, count)
    )
    before = time.process_time()
    Report([DataDriftPreset()]).run(current, reference).dict()
    return {"rows": count, "seconds": time.process_time() - before, "megabytes": _megabytes()}


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def alone(way: str, count: int, python: Path) -> dict[str, float]:
    """Measured in a process of its own."""
    command = [str(python), __file__, "--way", way, "--rows", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={"DO_NOT_TRACK": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def environment() -> Path:
    """evidently's Python."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINNED], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--sample", type=int, default=200_000, help="evidently's rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-kit", action="store_true")
    parser.add_argument("--python", type=Path, help="one that has evidently already")
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--way", choices=("kit", "evidently"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps({"kit": kit, "evidently": evidently}[asked.way](asked.rows)))
        return
    if asked.errors:
        for seed in range(asked.rounds):
            alarms, misses = errors(seed)
            print(f"reference {seed}: {alarms} false alarms and {misses} misses, each of {WINDOWS} windows")
        return
    ways = [("kit", asked.rows, Path(sys.executable))]
    if not asked.only_kit:
        ways.append(("evidently", asked.sample, asked.python or environment()))
    found: dict[str, list[dict[str, float]]] = {way: [] for way, _, _ in ways}
    for _ in range(asked.rounds):  # in turns: a busy machine slows both
        for way, count, python in ways:
            found[way].append(alone(way, count, python))
    best = {way: min(told, key=lambda one: one["seconds"]) for way, told in found.items()}
    for way, one in best.items():
        per_row = one["seconds"] / one["rows"] * 1e6
        print(f"{way:<10} {one['rows']:>12,.0f} rows {one['seconds']:8.2f} s of CPU  {per_row:7.3f} µs a row  "
              f"{one['megabytes']:7,.0f} MB at most")  # fmt: skip
    if len(best) > 1:
        each = {way: one["seconds"] / one["rows"] for way, one in best.items()}
        print(f"the kit is {each['evidently'] / each['kit']:.1f} times as fast per row")


if __name__ == "__main__":
    main()
