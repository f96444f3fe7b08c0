"""A preparation in words: the same rows for the terminal and for the Markdown file beside the data."""

from collections.abc import Sequence
from typing import NamedTuple

from starterkit.privacy import Proof


class Block(NamedTuple):
    """A heading and a table below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def blocks(proof: Proof) -> list[Block]:
    """What the treatment did: by column, to the smallest groups, and to the model."""
    return [
        Block("Columns", ("column", "treatment", "moved", "measure", "raw ids left"), _columns(proof)),
        Block("People who look alike", ("known columns", "k before", "k after", "alone before", "alone after"), [
            (
                ", ".join(one["columns"]),
                *(str(one[when][what]) for what in ("smallest", "alone") for when in ("before", "after")),
            )
            for one in proof.crowds
        ]),
        Block("Model", ("metric", "raw", "treated", "naive guess, raw", "naive guess, treated"), _quality(proof)),
    ]  # fmt: skip


def as_markdown(name: str, proof: Proof) -> str:
    """The report as a file."""
    rows, share = proof.rows, f", a sample of {proof.fraction:g}" if proof.fraction < 1 else ""
    lines = [
        f"# {name}",
        "",
        f"Made for stage {proof.stage} from {rows['source']} rows of {proof.source}{share}, {proof.made}: "
        f"{rows['training']} rows to train on, {rows['holdout']} held out.",
        "",
        f"SHA-256 `{proof.file_digest}`. Key `{proof.key or 'none'}`.",
    ]
    for block in blocks(proof):
        if block.rows:
            lines += ["", f"## {block.title}", "", *_table(block)]
    lines += ["", "k is the size of the smallest group of people with the same values in the known columns.", ""]
    return "\n".join(lines)


def _columns(proof: Proof) -> list[Sequence[str]]:
    found: list[Sequence[str]] = []
    for column, treatment in proof.policy.items():
        moved = proof.shifts.get(column)
        value, measure = (f"{moved['value']:.3f}", str(moved["measure"])) if moved else ("", "")
        left = proof.overlap.get(column)
        found.append((column, treatment, value, measure, "" if left is None else str(left)))
    return found


def _quality(proof: Proof) -> list[Sequence[str]]:
    said = proof.quality
    if "not_measured" in said:
        return [(said["metric"], "not measured", said["not_measured"], "", "")]
    figures = (said[name] for name in ("raw", "treated", "naive_raw", "naive_treated"))
    return [(said["metric"], *(f"{figure:.4g}" for figure in figures))]


def _table(block: Block) -> list[str]:
    rows = [block.header, ["---"] * len(block.header), *block.rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
