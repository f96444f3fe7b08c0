"""The monitor, over made-up windows whose truth is known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
from starterkit.errors import ContractError
from starterkit.feedback.drift import population_stability
from starterkit.feedback.monitoring import Monitor
from starterkit.feedback.observation import Observation, Window
from starterkit.feedback.reference import Reference, column_reference
from starterkit.feedback.tally import Watched
from starterkit.metrics import METRICS

START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
NUMBERS = ("bmi", "age", "income", "rooms")
TOWNS = ("Bergen", "Oslo", "Tromsø")
REFERENCE_ROWS = 1500


def column(name: str, kind: Any = "float", **more: Any) -> Column:
    return Column(name=name, role="feature", type=kind, unit="", sensitivity="plain", **more)


COLUMNS = (
    column("bmi", minimum=-50.0, maximum=50.0),
    column("age", "integer"),
    column("income"),
    column("rooms", "integer", nullable=True),
    column("town", "string", categories=TOWNS),
    column("member", "boolean"),
)
CONTRACT = Contract(
    problem="flats", title="Flats", task="regression", columns=COLUMNS, target=column("price"), layout="columns",
    example={}, parity=Parity(rows=1, measure="", largest=0, allowed=1, scale=1), digests={},
    lineage=Lineage(**dict.fromkeys(Lineage.__dataclass_fields__, "")),
)  # fmt: skip


def draw(rows: int, random: np.random.Generator, moved: str = "", by: float = 0.5) -> dict[str, Any]:
    """Rows of one world; with `moved`, one input by so many standard deviations, or the towns' shares."""
    shares = [0.2, 0.5, 0.3] if moved == "town" else [0.5, 0.3, 0.2]
    made: dict[str, Any] = {
        "bmi": random.normal(0, 1, rows),
        "age": random.normal(40, 12, rows).round(),
        "income": random.lognormal(0, 0.5, rows),
        "rooms": random.integers(1, 7, rows).astype(np.float64),
        "town": np.array(TOWNS, object)[random.choice(3, rows, p=shares)],
        "member": (random.random(rows) < 0.3).astype(np.float64),
    }
    if moved in NUMBERS:
        spread = {"bmi": 1, "age": 12, "income": 0.604, "rooms": 1.708}[moved]
        made[moved] = made[moved] + by * spread
    made["rooms"][random.random(rows) < 0.05] = np.nan
    return made


def batches(inputs: dict[str, Any], labels: float = 0.0, version: str = "3", at_once: int = 1000) -> Iterator[Any]:
    """As the log gives them: some rows at a time, with answers, of which a share has labels."""
    random = np.random.default_rng(1)
    rows = len(inputs["bmi"])
    answers = 10 + inputs["bmi"] + random.normal(0, 0.1, rows)
    truth = np.where(random.random(rows) < labels, answers + random.normal(0, 1, rows), np.nan)
    times = WINDOW.micros[0] + np.sort(random.integers(0, 86_400_000_000, rows))
    for begin in range(0, rows, at_once):
        part = slice(begin, begin + at_once)
        count = len(answers[part])
        yield pa.RecordBatch.from_pydict({
            "id": pa.array([(n).to_bytes(16, "big") + bytes(4) for n in range(count)], pa.binary(20)),
            "time": pa.array(times[part], pa.timestamp("us", "UTC")),
            "version": pa.array([version] * count).dictionary_encode(),
            "key": pa.nulls(count, pa.string()),
            "latency": np.full(count, 0.002),
            **{name: pa.array(values[part], from_pandas=True) for name, values in inputs.items()},
            "prediction": answers[part],
            "label": pa.array(truth[part], from_pandas=True),
        })  # fmt: skip


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    random = np.random.default_rng(0)
    training = draw(REFERENCE_ROWS, random)
    answers = Prediction(10 + random.normal(0, 1, 400))
    reference = Reference.of(CONTRACT, training, answers, {"rmse": 1.0, "r2": 0.5}, slices=("town", "bmi"))
    again = Reference.from_json(reference.to_json().encode(), "version 3")
    assert again == reference
    metrics = tuple(METRICS[name] for name in ("rmse", "r2"))
    return Monitor(Watched("local.flats", "3", CONTRACT, again, metrics, METRICS["rmse"]))


def drifted(observed: Observation) -> set[str]:
    return {one.column for one in observed.drifts if one.drifted}


def test_a_world_that_stands_still_gives_no_alarm_and_half_a_deviation_in_one_input_is_seen(monitor: Monitor) -> None:
    for rows in (60, 1000):
        random = np.random.default_rng(11)
        assert sum(bool(drifted(monitor.observe(WINDOW, batches(draw(rows, random))))) for _ in range(200)) <= 4
    random = np.random.default_rng(12)
    moved = [(*NUMBERS, "town")[place % 5] for place in range(200)]
    seen = [one in drifted(monitor.observe(WINDOW, batches(draw(1000, random, one)))) for one in moved]
    assert seen.count(False) <= 10


def test_the_index_says_what_of_it_is_noise() -> None:
    random, found = np.random.default_rng(13), []
    for _ in range(300):
        reference = column_reference(column("bmi"), random.normal(0, 1, 1000), None)
        places = np.searchsorted(reference.edges, random.normal(0, 1, 500))
        found.append(population_stability(reference, np.bincount(places, minlength=len(reference.counts))))
    index, noise = np.array(found).T
    assert noise[0] == pytest.approx(9 * (1 / 1000 + 1 / 500))
    assert index.mean() == pytest.approx(noise[0], rel=0.1)


def test_what_a_window_shows(monitor: Monitor) -> None:
    inputs = draw(2000, np.random.default_rng(14))
    inputs["rooms"][:700] = np.nan
    inputs["bmi"][0] = 99.0
    older = batches({**draw(50, np.random.default_rng(15))}, version="2")
    refused = {("", ""): 20, ("range", "bmi"): 18, ("missing", "rooms"): 9}
    observed = monitor.observe(WINDOW, [*older, *batches(inputs, labels=0.5)], refused)
    figures = observed.figures
    assert (observed.rows, observed.requests, dict(observed.others)) == (2000, 2000, {"2": 50})
    assert figures["refused_share"] == pytest.approx(20 / 2020)
    assert observed.refused == {"range (bmi)": 18, "missing (rooms)": 9}
    assert figures["latency_p50_ms"] == pytest.approx(2, rel=0.15)
    assert drifted(observed) == {"rooms"}
    assert figures["missing.rooms"] == pytest.approx(0.38, abs=0.03)
    assert figures["out_of_range.bmi"] == 1 / 2000
    assert 0.4 < figures["labelled_share"] < 0.6
    assert figures["rmse_low"] < 1 < figures["rmse_high"]
    parts = {one.part for one in observed.qualities if one.part}
    assert parts == {*(f"bmi {part}" for part in ("low", "middle", "high")), *(f"town={town}" for town in TOWNS)}
    assert observed.content["figures"] == figures


def test_what_a_window_lacks_is_one_line(monitor: Monitor) -> None:
    ours, older = ([*batches(draw(50, np.random.default_rng(1)), version=version)] for version in "32")
    narrow, older_narrow = ([batch.drop_columns(["bmi"]) for batch in some] for some in (ours, older))
    for given, note in (
        ([], "no prediction of version 3 in this window"),
        (older, "no prediction of version 3 in this window; 50"),
        (ours, "no label has come"),
        (narrow, "the log does not have bmi"),
        (older_narrow, "version 2 was asked other columns (bmi)"),
    ):
        assert any(one.startswith(note) for one in monitor.observe(WINDOW, given).notes), note
    for content in (None, b"{", b'{"format": 99}', b'{"format": 1, "columns": 3}'):
        with pytest.raises(ContractError, match="version 1"):
            Reference.from_json(content, "local.flats version 1")


def test_what_a_stage_may_not_see_is_not_compared(monitor: Monitor) -> None:
    training = draw(500, np.random.default_rng(2))
    answers = Prediction(np.random.default_rng(3).normal(10, 1, 200))
    made = Reference.of(CONTRACT, training, answers, {}, slices=("town",), hidden=("town", "id_of_nobody"))
    assert made.hidden == ("town",)
    assert [one.name for one in made.columns if not one.counts] == ["town"]
    assert "Oslo" not in made.to_json()
    watched = Watched("dev.flats", "3", CONTRACT, made, (METRICS["rmse"],), METRICS["rmse"])
    observed = Monitor(watched).observe(WINDOW, batches(draw(500, np.random.default_rng(4), "town")))
    assert "town" not in {one.column for one in observed.drifts}
    assert any("town in bands" in note for note in observed.notes)


def test_no_bin_and_no_category_is_one_persons() -> None:
    people = np.repeat(np.arange(40, dtype=np.uint64), 10)
    values = np.repeat(np.arange(40.0), 10) + 0.123456
    made = column_reference(column("bmi"), values, people)
    for low, high in zip((-np.inf, *made.edges), (*made.edges, np.inf), strict=True):
        assert len(np.unique(people[(values > low) & (values <= high)])) >= 5
    towns = np.array(["A"] * 300 + ["B"] * 96 + ["only one"] * 4, object)
    assert column_reference(column("town", "string"), towns, None).categories == ("A", "B")
