"""What a person, or a script, is told at the end of a run."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.text import Text

from starterkit.cli.console import console, table
from starterkit.contract import Scalar
from starterkit.data.prepare import Prepared, blocks
from starterkit.errors import Refused, UserError
from starterkit.pipeline import Judgement, Promotion, Summary
from starterkit.serving.loadtest import address_of
from starterkit.settings import ServingSettings, Settings, Stage
from starterkit.training import TrainedModel
from starterkit.verdict import Verdict

# --- What a person is told of a data set that was prepared.

_STAGES = (Stage.DEV, Stage.TEST, Stage.STAGING)


def stage_named(name: str) -> Stage:
    """The stage that data is to be prepared for.

    Raises
    ------
    UserError
        There is none of this name, or it takes its source as it is.
    """
    if name not in _STAGES:
        raise UserError(f"no data is prepared for '{name}'", f"Name one of {', '.join(_STAGES)} with --for")
    return Stage(name)


def show_prepared(prepared: Prepared, root: Path) -> None:
    """The report, and what to do next."""
    out, proof = console(), prepared.proof
    for block in blocks(proof):
        if block.rows:
            out.print(f"\n[bold]{block.title}[/]")
            out.print(table(block.rows, header=block.header))
    path = prepared.path.resolve()
    shown = path.relative_to(root.resolve()) if path.is_relative_to(root.resolve()) else path
    rows = proof.rows["training"] + proof.rows["holdout"]
    out.print(f"\n[bold]Written[/]  {escape(str(shown))}, {rows} rows, with its proof and report beside it")
    out.print(f"Stage {proof.stage} reads it where config/{proof.stage}.yaml says: data.source: {escape(str(shown))}")


# --- What a person, or a script, is told of a run and of the gate.

_HINT_OF_ONE = "Improve the model, or change the limits in config if they are wrong"
_HINT_OF_MANY = f"Do what the table's reasons say, {_HINT_OF_ONE[0].lower()}{_HINT_OF_ONE[1:]}"


def show_summary(summary: Summary, settings: Settings) -> None:
    """The whole run on one screen: figures, parity, verdict, version, answers, and what to do next."""
    out, contract = console(), summary.exported.contract
    parity = contract.parity
    show_scores(summary.trained.model)
    out.print(f"\n[bold]Parity[/]  {parity.measure} {parity.largest:.2g} over {parity.rows:,} rows", end="")
    out.print(f" ({parity.allowed:g} allowed): the ONNX graph answers as the estimator does", end="")
    out.print(f", but {parity.on_instability}" if parity.unstable else "")
    if contract.keeps_rows:
        out.print(f"\n[bold]Careful[/]  {contract.on_rows}")
    show_promotion(summary.promotion)
    if summary.samples:
        target = summary.exported.contract.target
        answers = ", ".join(map(_number, summary.samples))
        out.print(f"\n[bold]Answers[/]  {escape(target.name)} for three rows it was not trained on: {answers}", end="")
        out.print(f" {escape(target.unit)}")
    if summary.promotion.champion is not None:
        _show_next(summary, settings)


def show_scores(model: TrainedModel) -> None:
    out, rows = console(), len(model.evaluation.prediction.values)
    out.print(f"\n[bold]Holdout[/]  {rows} rows that no model is trained on")
    scores = [
        (f"{name}{' (decides)' if name == model.problem.deciding_metric.name else ''}", _number(score), _number(naive))
        for (name, score), naive in zip(model.evaluation.scores.items(), model.baseline.scores.values(), strict=True)
    ]
    out.print(table(scores, header=("metric", "model", "naive guess"), right=(1, 2)))


def show_judgement(judged: Judgement) -> None:
    """Each check's verdict, about a version that may not even want to be promoted."""
    out, decision = console(), judged.decision
    verdict = "[bold green]passed[/]" if decision.passed else "[bold red]refused[/]"
    out.print(f"\n[bold]Gate[/]  {judged.version}: {verdict}")
    rows = [(_mark(v), v.check, _amount(v.figure), _amount(v.limit), v.told) for v in decision.verdicts]
    out.print(table(rows, header=("verdict", "check", "figure", "limit", "reason"), right=(2, 3)))


def what_next(judged: Judgement, stage: str) -> str:
    """How a version that the gate would let pass becomes champion."""
    if judged.earlier is not None and judged.earlier.number == judged.version.number:
        return "It is champion already."
    if stage == "prod":  # where --version means one of staging's
        return "`starterkit promote --to prod` asks again about the copy of staging's champion, and makes it champion."
    return f"`starterkit promote --version {judged.version.number}` makes it champion."


def show_promotion(promotion: Promotion) -> None:
    show_judgement(promotion)
    out = console()
    before = f"was {promotion.earlier}" if promotion.earlier else "there was none"
    if promotion.decision.passed and promotion.shadow:
        out.print(f"\n[bold]Challenger[/]  {promotion.version}; {promotion.earlier or 'nobody'} answers")
    elif promotion.decision.passed:
        out.print(f"\n[bold]Champion[/]  {promotion.version} ({before})")
    else:
        stays = f"{promotion.earlier} stays" if promotion.earlier else "there is none"
        out.print(f"\n[bold]Champion[/]  {stays}")


def refusal(judged: Judgement) -> Refused:
    """The closing line. It gives the reason of a check that refused alone, or that knows its hint.

    Other reasons stand in the table above: four of them would be no line any more.
    """
    refusals = judged.decision.refusals
    known = [verdict for verdict in refusals if verdict.hint or len(refusals) == 1]
    what = f"the gate refused {judged.version} ({', '.join(verdict.check for verdict in refusals)})"
    if known:
        what += f": {'; '.join(verdict.reason for verdict in known)}"
    hints = [verdict.hint for verdict in known if verdict.hint]
    if len(hints) < len(refusals):
        hints.append(_HINT_OF_ONE if len(refusals) == 1 else _HINT_OF_MANY)
    return Refused(what, ". ".join(hints))


def judgement_as_json(judged: Judgement) -> dict[str, Any]:
    return {
        "model": judged.version.model,
        "version": judged.version.number,
        "passed": judged.decision.passed,
        "verdicts": [verdict.content for verdict in judged.decision.verdicts],
        "earlier_champion": judged.earlier.number if judged.earlier else None,
    }


def summary_as_json(summary: Summary) -> dict[str, Any]:
    return {
        "run": summary.exported.run,
        "holdout": dict(summary.trained.model.evaluation.scores),
        "naive": dict(summary.trained.model.baseline.scores),
        "parity": vars(summary.exported.contract.parity),
        "promotion": judgement_as_json(summary.promotion),
        "champion": summary.promotion.champion.number if summary.promotion.champion else None,
        "samples": list(summary.samples),
    }


def _show_next(summary: Summary, settings: Settings) -> None:
    out, address = console(), address_of(settings.serving)
    out.print("\n[bold]Next[/]")
    stage = "" if settings.stage == "local" else f"KIT_STAGE={settings.stage} "  # perhaps said for this command alone
    rows = [
        (f"{stage}make ui", "look at the run, its figures and the registered model"),
        (f"{stage}make serve", f"answer requests; try it at {address}"),
    ]
    out.print(table(rows))
    out.print(escape(f"  {asking(settings.serving, summary.exported.contract.example)}"), soft_wrap=True)


def asking(serving: ServingSettings, example: Mapping[str, Scalar]) -> str:
    """A request as a shell takes it."""
    record = json.dumps({"records": [dict(example)]}, ensure_ascii=False)
    key = ' -H "X-API-Key: $KIT_SERVING__API_KEY"' if serving.require_api_key else ""
    body = f"-H 'content-type: application/json' -d {shlex.quote(record)}"
    return f"curl {address_of(serving)}/predict{key} {body}"


def _mark(verdict: Verdict) -> Text:
    if verdict.off:
        return Text("off", "dim")
    word, colour = ("pass", "green") if verdict.passed else ("REFUSE", "red")
    return Text(f"{word}, few rows" if verdict.undecided else word, "yellow" if verdict.undecided else colour)


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
