"""The page of one decision of the gate, from its record."""

from collections.abc import Iterator, Mapping
from typing import Any

from starterkit.reports.figures import confusion_figure
from starterkit.reports.pages import Picture, picture, render

_COMMIT_SHOWN = 12


def gate_page(record: Mapping[str, Any], digest: str) -> str:
    """The page as one HTML file. `record` is an evidence record's content, `digest` its SHA-256."""
    checks = record["checks"]
    return render(
        "gate.html",
        {"amount": _amount, "css": _css},
        record=record,
        digest=digest,
        outcome="passed" if record["passed"] else "refused",
        why=_why(checks),
        asked=sum(not check["off"] for check in checks),
        off=sum(check["off"] for check in checks),
        figures=list(_figures(record)),
        origin=list(_origin(record)),
    )


def _why(checks: list[Mapping[str, Any]]) -> str:
    refusals = [check for check in checks if not check["passed"]]
    if not refusals:
        unsure = [check["check"] for check in checks if check["outcome"] == "not enough rows"]
        few = f" There were too few rows to be sure of {', '.join(unsure)}." if unsure else ""
        return f"Every check that was asked passed.{few}"
    first = refusals[0]
    more = f" {len(refusals) - 1} more refuse it: {', '.join(one['check'] for one in refusals[1:])}." * bool(
        refusals[1:]
    )
    return f"{first['check']}: {first['reason'].rstrip('.')}.{more}"


def _figures(record: Mapping[str, Any]) -> Iterator[Picture]:
    import numpy as np

    from starterkit.reports.gate_figures import comparison_figure, fit_figure, leak_figure

    comparison = record["comparison"]
    if comparison.get("low") is not None:
        words = (
            f"How much worse than the champion this version is by {record['metric']['name']}, with how sure that is. "
            f"A line that stays left of its grey mark is not worse. Over all rows it reaches from "
            f"{_amount(comparison['low'])} to {_amount(comparison['high'])}, with {_amount(comparison['margin'])} "
            "tolerated; a negative number is better."
        )
        yield picture(comparison_figure(record), words)
    fit = record["fit"]
    if "bins" in fit:
        words = "Rows with like answers together: their mean answer, and their mean truth. On the line both agree."
        yield picture(fit_figure(record), words)
    else:
        classes = [str(one) for one in fit["classes"]]
        words = "How many held-out rows of each class got which answer."
        yield picture(confusion_figure(np.array(fit["confusion"]), classes), words)
    leaks = [(name, share) for name, share in record["leaks"].items() if share is not None]
    if leaks:
        limit = record["settings"]["leak_limit"]
        words = f"What each feature alone says about the target; beyond {limit:.1%} the gate takes it for a leak."
        yield picture(leak_figure(leaks, limit), words)


def _origin(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lineage, parity = record["lineage"], record["parity"]
    yield "trained in stage", lineage["stage"]
    changes = ", with changes that are in no commit" if lineage["dirty"] else ""
    yield "commit", f"{lineage['commit'][:_COMMIT_SHOWN]}{changes}"
    yield "run", lineage["run"]
    yield "data", f"{lineage['data_source']}, {lineage['rows']:,} rows, SHA-256 {lineage['data_digest']}"
    treated = ", ".join(f"{name}: {treatment}" for name, treatment in record["policy"].items())
    yield "data policy", treated or "every column raw"
    yield "lock", f"SHA-256 {lineage['lock_digest']}"
    yield "parity", f"{parity['measure']} {parity['largest']:.2g} over {parity['rows']:,} rows"
    yield "kit", record["kit"]


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _css(check: Mapping[str, Any]) -> str:
    return {"not enough rows": "unsure"}.get(check["outcome"], check["outcome"])
