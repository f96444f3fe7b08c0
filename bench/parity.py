"""What the kit exports and how truly, beside plain skl2onnx: four lists of cases, each asked rows of another making.

    make bench-parity                    all four lists, 3,000 rows a case; writes docs/parity.md
    make bench-parity LIST=boosters      one list; writes nothing
    make bench-parity ROWS=50000         more rows

A case is an unfitted estimator of `bench/parity_lists.py`. It is fitted on 600 made-up rows, exported and proven by the
kit, and converted by skl2onnx with float32 and with float64 inputs. Each graph is asked the same rows: values that were
seen and values that were not, up to a third of a column's range beyond it, whole numbers, words in other forms.
"""

import argparse
import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from parity_lists import LISTS, NUMBERS, TEXTS, Case

from starterkit.contract import Column
from starterkit.data.synthetic import draw_rows
from starterkit.errors import ContractError, KitError
from starterkit.machine import send_nothing
from starterkit.serving.graph import Session
from starterkit.serving.predictor import tied_among
from starterkit.settings import ExportSettings
from starterkit.training.export import ParityProof
from starterkit.training.export.conversion import layout_of, to_graph

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "parity.md"
FITTED_ON = 600
NOTE = "note"
WORDS = ["good", "bad", "café", "service", "slow", "great", "I", "a", "not", "the", "The", "room", "CLEAN", "naïve"]
WORDS += ["x", "5", "10", "co-op", "it's", "very", "much", "breakfast"]
ODD_WORDS = ["GOOD", "cafe", "Bad!", "a\tb", "good,bad", "ÉCOLE", "", "_x_", "good good", "CAFÉ"]
GAPS = ("weight", "level")
ALLOWED = {"regression": 1e-5}
PROBABILITY = 1e-6
WAYS = ("kit", "float32", "float64")


@dataclass(frozen=True)
class Found:
    """What came of one case in one way: right, wrong or refused, and the largest difference or the reason."""

    verdict: str
    largest: float = 0.0
    why: str = ""


# --- The rows.


def table(rows: int, seed: int, gaps: bool) -> pd.DataFrame:
    """Numbers of unlike size, two columns of texts, one of words, and an answer that depends on all."""
    random = np.random.default_rng(seed)
    shares = np.r_[np.full(6, 0.15), np.full(6, 0.1 / 6)]
    made = pd.DataFrame(
        {
            "height": random.normal(1.7, 0.1, rows),
            "weight": random.normal(70_000, 9_000, rows),
            "pressure": random.normal(120, 15, rows).round(1),
            "count": random.poisson(3, rows).astype(float),
            "share": random.beta(2, 5, rows),
            "level": random.exponential(1e-4, rows),
            "site": random.choice(["north", "south", "east", "west"], rows),
            "ward": random.choice([f"w{place}" for place in range(12)], rows, p=shares),
            NOTE: [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(rows)],
        }
    )
    scaled = (made[NUMBERS] - made[NUMBERS].mean()) / made[NUMBERS].std()
    score = scaled @ [1, -1, 2, 1, 1, -2] + 3 * scaled["height"] * scaled["pressure"]
    score += 2 * (made["site"] == "north") + 2 * made[NOTE].str.contains("good")
    made["answer"] = score + random.normal(0, 1, rows)
    for name in GAPS if gaps else ():
        made[name] = made[name].where(random.random(rows) > 0.1)
    return made


def answers(case: Case, made: pd.DataFrame) -> pd.Series:
    if case.task == "regression":
        return made["answer"] - made["answer"].min() + 1
    edges = np.quantile(made["answer"], np.linspace(0, 1, int(case.task) + 1)[1:-1])
    return pd.Series(np.searchsorted(edges, made["answer"]))


def other_rows(seen: pd.DataFrame, rows: int, seed: int, gaps: bool) -> pd.DataFrame:
    """Each column by itself, so that rows meet that never stood together."""
    random = np.random.default_rng(seed)
    made = {}
    for name in seen:
        known = seen[name].dropna().to_numpy()
        values = random.choice(known, rows)
        if name in NUMBERS:
            low, high = float(known.min()), float(known.max())
            least = low - 0.1 * (high - low) if low < 0 else low
            even = random.uniform(least, high + 0.33 * (high - low), rows)
            values = np.where(random.random(rows) < 0.5, values, even)
            values = np.where(random.random(rows) < 0.03, np.round(values), values)
            if gaps and name in GAPS:
                values = np.where(random.random(rows) < 0.05, np.nan, values)
        elif name == NOTE:
            counts = random.integers(1, 9, rows)
            values = np.array([" ".join(random.choice([*WORDS, *ODD_WORDS], count)) for count in counts], dtype=object)
        else:
            values = np.where(random.random(rows) < 0.03, "never seen", values.astype(object))
        made[str(name)] = values
    return pd.DataFrame(made).astype({name: seen[name].dtype for name in seen})


# --- One case in three ways.


def measure_kit(rows: int, names: tuple[str, str]) -> tuple[str, str, dict[str, Found]]:
    """One case by the kit alone."""
    return measure(rows, names, WAYS[:1])


def measure(rows: int, names: tuple[str, str], asked_of: tuple[str, ...] = WAYS) -> tuple[str, str, dict[str, Found]]:
    """One case in each way."""
    send_nothing()
    warnings.simplefilter("ignore")
    case = next(case for case in LISTS[names[0]]() if case.name == names[1])
    made = table(FITTED_ON, 7, case.gaps)
    seen, target = made[list(case.columns)], answers(case, made)
    try:
        fitted = case.build().fit(seen, target)
    except Exception as error:  # scikit-learn refuses in many ways
        return *names, {"kit": Found("unfit", why=str(error).splitlines()[0][:120])}
    asked = other_rows(seen, rows, 9, case.gaps)
    try:
        expected = np.asarray(fitted.predict(asked)).ravel()
        numbers = behind(fitted, case.task, asked)
        shares = numbers if hasattr(fitted, "predict_proba") else None
    except Exception as error:  # as above
        return *names, {"kit": Found("unfit", why=f"refuses rows: {str(error).splitlines()[0][:100]}")}
    compared = partial(_compared, expected, float(target.std()), case.task)
    prove = partial(_proven, case, fitted, seen, target, rows)
    ways: dict[str, Callable[[], list[Any]]] = {
        "kit": lambda: _by_the_kit(case, fitted, seen, asked),
        "float32": lambda: _plainly(fitted, asked, np.float32),
        "float64": lambda: _plainly(fitted, asked, np.float64),
    }
    # skl2onnx says something else than decision values.
    found = {way: _found(ways[way], partial(compared, numbers if way == "kit" else shares)) for way in asked_of}
    if found["kit"].verdict == "wrong" and (refusal := prove()):  # the graph would not have left the export
        found["kit"] = Found("refused", found["kit"].largest, refusal)
    return *names, found


def behind(fitted: Any, task: str, asked: pd.DataFrame) -> Any:
    """The probabilities of a classifier, or its decision values, n × k; None where there are neither."""
    if hasattr(fitted, "predict_proba"):
        return fitted.predict_proba(asked)
    decides = task != "regression" and hasattr(fitted, "decision_function")
    return fitted.decision_function(asked).reshape(len(asked), -1) if decides else None


def _found(run: Callable[[], list[Any]], compared: Callable[[list[Any]], Found]) -> Found:
    try:
        return compared(run())
    except ContractError as error:
        return Found("refused", why=f"does not run: {error.what}"[:200])
    except KitError as error:
        return Found("refused", why=str(error))
    except Exception as error:  # skl2onnx and onnxruntime fail in many ways, and that is what is reported
        return Found("refused", why=f"{type(error).__name__}: {str(error).splitlines()[0][:120]}")


def _by_the_kit(case: Case, fitted: Any, seen: pd.DataFrame, asked: pd.DataFrame) -> list[Any]:
    columns = _columns_of(case, seen)
    session = Session(to_graph(fitted, columns, "answer").graph)
    if layout_of(columns) == "matrix":
        return session.run({session.inputs[0]: asked.to_numpy(dtype=np.float64)})
    return session.run({name: asked[name].to_numpy(object if _is_text(name) else np.float64) for name in asked})


def _columns_of(case: Case, seen: pd.DataFrame) -> tuple[Column, ...]:
    shape = {"role": "feature", "unit": "", "sensitivity": "plain", "nullable": case.gaps}
    return tuple(Column(name=str(name), type=_type_of(str(name)), **shape) for name in seen)


def _proven(case: Case, fitted: Any, seen: pd.DataFrame, target: pd.Series, rows: int) -> str:
    """Why the proof refuses it; empty where it does not."""
    task: Any = "regression" if case.task == "regression" else "classification"
    columns = _columns_of(case, seen)
    model: Any = SimpleNamespace(estimator=fitted, problem=SimpleNamespace(task=task, features=columns))
    proof = ParityProof(ExportSettings(parity_rows=rows), model, to_graph(fitted, columns, "answer"), target)
    try:
        proof.over(seen, draw_rows(columns, seen, rows, 20041))
    except KitError as error:
        return str(error)
    return ""


def _plainly(fitted: Any, asked: pd.DataFrame, kind: Any) -> list[Any]:
    """As tutorials show it: a matrix of numbers, or one input a column."""
    from skl2onnx import to_onnx

    texts = [name for name in asked if _is_text(name)]
    options = {"zipmap": False} if hasattr(fitted, "predict_proba") else None
    if not texts:
        graph = to_onnx(fitted, asked.head(1).to_numpy(kind), options=options, target_opset=18)
        session = Session(graph.SerializeToString())
        feed = {session.inputs[0]: asked.to_numpy(kind)}
    else:
        numbers = {name: kind for name in asked if name not in texts}
        graph = to_onnx(fitted, asked.head(1).astype(numbers), options=options, target_opset=18)
        session = Session(graph.SerializeToString())
        feed = {name: asked[[name]].to_numpy(object if name in texts else kind) for name in asked}
    found = session.run(feed)
    return [found[0], *found[1].T] if len(found) > 1 and found[1].ndim == 2 else found[:1]


def _compared(expected: Any, spread: float, task: str, shares: Any, answered: list[Any]) -> Found:
    if task == "regression":
        away = np.abs(answered[0].ravel() - expected) / np.maximum(np.abs(expected), spread)
        largest = float(np.nan_to_num(away, nan=np.inf).max())
        return Found("right" if largest <= ALLOWED["regression"] else "wrong", largest)
    labels = answered[0].ravel() != expected
    largest = 0.0
    if shares is not None and len(answered) > 1:
        away = np.abs(np.column_stack([one.ravel() for one in answered[1:]]) - shares) / np.maximum(1, np.abs(shares))
        largest = float(np.nan_to_num(away, nan=np.inf).max())
        labels &= ~tied_among(shares)
    right = largest <= PROBABILITY and not labels.any()
    return Found("right" if right else "wrong", largest, f"{int(labels.sum()):,} labels" if labels.any() else "")


def _is_text(name: str) -> bool:
    return name in (*TEXTS, NOTE)


def _type_of(name: str) -> Any:
    return "string" if _is_text(name) else "float"


# --- All of them, and the page.


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--list", default="", choices=["", *LISTS])
    parser.add_argument("--keep", type=Path, default=None, help="a file of what was found so far, to go on from")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    asked = [(name, case.name) for name in LISTS if arguments.list in ("", name) for case in LISTS[name]()]
    found = _kept(arguments.keep)
    for name, case, ways in _measured(arguments.rows, [one for one in asked if one not in found]):
        found[name, case] = ways
        print(
            f"{name} | {case} | " + " | ".join(f"{way}: {one.verdict} {one.why}" for way, one in ways.items()),
            flush=True,
        )
        if arguments.keep:
            lines = [[*key, {way: asdict(one) for way, one in ways.items()}] for key, ways in found.items()]
            arguments.keep.write_text(json.dumps(lines), "utf-8")
    found = {one: found[one] for one in asked}
    _sum_up(found)
    if arguments.write:
        PAGE.write_text(_page(found, arguments.rows), "utf-8")
    if any(ways["kit"].verdict == "wrong" for ways in found.values()):
        sys.exit("some are wrong")


def _kept(file: Path | None) -> dict[tuple[str, str], dict[str, Found]]:
    if file is None or not file.exists():
        return {}
    lines = json.loads(file.read_text("utf-8"))
    return {(name, case): {way: Found(**one) for way, one in ways.items()} for name, case, ways in lines}


def _measured(rows: int, asked: list[tuple[str, str]]) -> Iterator[tuple[str, str, dict[str, Found]]]:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for waiting in as_completed([pool.submit(measure, rows, one) for one in asked]):
            yield waiting.result()


def _sum_up(found: dict[tuple[str, str], dict[str, Found]]) -> None:
    for line in _totals(found):
        print(line)


def _totals(found: dict[tuple[str, str], dict[str, Found]]) -> Iterator[str]:
    yield "| list | cases | the kit: right / wrong / refused | skl2onnx, float32 | skl2onnx, float64 |"
    yield "|---|---|---|---|---|"
    for name in LISTS:
        cases = [ways for key, ways in found.items() if key[0] == name and ways["kit"].verdict != "unfit"]
        if not cases:
            continue
        counts = [Counter(ways[way].verdict for ways in cases) for way in WAYS]
        cells = [" / ".join(str(count[verdict]) for verdict in ("right", "wrong", "refused")) for count in counts]
        yield f"| {name} | {len(cases)} | {' | '.join(cells)} |"


def _page(found: dict[tuple[str, str], dict[str, Found]], rows: int) -> str:
    refused = [(key, ways["kit"]) for key, ways in found.items() if ways["kit"].verdict == "refused"]
    by_reason: dict[str, list[str]] = {}
    for (_, case), one in refused:
        reason = one.why.partition("cannot be exported to ONNX: ")[2] or one.why
        reason = re.sub(r"\d[\d.,e%-]* ", "… ", reason) if "does not answer" in reason else reason
        by_reason.setdefault(reason.partition("; docs/")[0], []).append(case)
    reasons = [f"| {', '.join(cases)} | {reason} |" for reason, cases in by_reason.items()]
    wrong = [
        f"{case}: {ways['kit'].largest:.1e} {ways['kit'].why}"
        for (_, case), ways in found.items()
        if ways["kit"].verdict == "wrong"
    ]
    largest = {
        name: max(
            (ways["kit"].largest for key, ways in found.items() if key[0] == name and ways["kit"].verdict == "right"),
            default=0.0,
        )
        for name in LISTS
    }
    told = ", ".join(f"{name} {value:.0e}" for name, value in largest.items())
    return f"""# What is exported, and how truly

Written by `make bench-parity` with scikit-learn {sklearn.__version__}. Each case is fitted on {FITTED_ON} made-up rows
and asked {rows:,} others: values that were seen and that were not, up to a third of a column's range beyond it, whole
numbers, unknown categories, words in other forms. *Right*: no label differs (but at an exact tie), no probability or
decision value by more than 1e-6, no number by more than 1e-5 of the larger of it and the target's standard deviation.
Beside the kit stands `skl2onnx.to_onnx`, given the same rows as float32 and as float64; what fails there counts as
refused. What the kit's graph answers otherwise is put to the proof of its export, and counts as refused where that
refuses it.

{chr(10).join(_totals(found))}

The largest difference of those that are right: {told}.
{"Wrong: " + "; ".join(wrong) + "." if wrong else "Nothing is wrong."}

The lists stand beside the benchmark: scikit-learn's whole registry over numbers and over mixed columns;
transformers in front of a line and of boosting; estimators that hold others, pipelines and texts; XGBoost, LightGBM and
splits by category.
Whatever stands in none of them is proven at its own export, or refused.

## What is refused, and why

| case | why, and what does instead |
|---|---|
{chr(10).join(reasons)}
"""


if __name__ == "__main__":
    main()
