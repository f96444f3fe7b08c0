"""`Preparer`: a source that may be seen here becomes the data set of a stage that may not see it.

Sampled, masked, measured, and written with its proof. See docs/data-policy.md.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data import ROW_KEY, SPLIT, find_prepared, masked, proof_of, read_raw, schema_digest
from starterkit.data.dataset import Table, digest, hashed, hashes_of, held_out
from starterkit.data.masking import Proof, StageKey, find_key, make_key, pseudonyms, row_keys
from starterkit.data.policy import Policy, measure, sees_raw
from starterkit.errors import UserError
from starterkit.files import write_together
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.settings import PrivacySettings, Settings, Stage, mask

# --- A preparation in words: the same rows for the terminal and for the Markdown file beside the data.


class Block(NamedTuple):
    """A heading and a table below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def blocks(proof: Proof) -> list[Block]:
    """What the masking did: by column, to the smallest groups, and to the model."""
    return [
        Block("Columns", ("column", "treatment", "moved", "measure", "raw ids left"), _columns(proof)),
        Block("People who look alike", ("known columns", "k before", "k after", "alone before", "alone after"), [
            (
                _known(one["columns"]),
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


_NAMED = 4


def _known(columns: Sequence[str]) -> str:
    """Whoever knows these columns. ``age, sex, bmi, glucose and 6 more``."""
    more = len(columns) - _NAMED
    return ", ".join(columns[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _quality(proof: Proof) -> list[Sequence[str]]:
    said = proof.quality
    if "not_measured" in said:
        return [(said["metric"], "not measured", said["not_measured"], "", "")]
    figures = (said[name] for name in ("raw", "treated", "naive_raw", "naive_treated"))
    return [(said["metric"], *(f"{figure:.4g}" for figure in figures))]


def _table(block: Block) -> list[str]:
    rows = [block.header, ["---"] * len(block.header), *block.rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]


# --- A share of the rows that looks like all of them, and that a larger share contains.

_BINS = 5


def sampled(problem: Problem, frame: pd.DataFrame, fraction: float) -> NDArray[np.bool_]:
    """Which of n checked rows belong to a sample of about this fraction.

    Each record, or group, has its place in an order that follows from its id alone, by the holdout's hash with a salt
    of its own; the first of each stratum are taken, so that of one source a smaller sample is part of a larger one.
    A stratum is a side of the holdout and a class, or a fifth of a regression's target.
    """
    if fraction >= 1:
        return np.ones(len(frame), dtype=bool)
    salt = f"{problem.holdout.salt or problem.name}/sample"
    names = [column.name for column in problem.key_columns if column.role == "identifier"]
    if problem.group or names:
        unit = frame[problem.group.name if problem.group else names[0]]
    else:  # a row is known by all that it holds
        unit = pd.util.hash_pandas_object(frame, index=False)
    units = pd.DataFrame(
        {
            "unit": unit.astype("str").to_numpy(),
            "place": hashed(salt, unit),
            "side": held_out(problem, frame),
            "class": _classes(problem, frame[problem.target.name]).to_numpy(),
        }
    ).drop_duplicates("unit")  # a group is where its first row is
    order = units.sort_values("place").groupby(["side", "class"], sort=False).cumcount()
    sizes = units.groupby(["side", "class"], sort=False)["unit"].transform("size")
    taken = units[order.reindex(units.index) < np.maximum(1, np.rint(sizes * fraction))]
    return unit.astype("str").isin(set(taken["unit"])).to_numpy()


def _classes(problem: Problem, target: pd.Series) -> pd.Series:
    if problem.task == "classification":
        return target.astype("str")
    return pd.qcut(target.rank(method="first"), min(_BINS, len(target)), labels=False)


# --- The preparation itself.


@dataclass(frozen=True)
class Prepared:
    """A data file that was written, and the proof beside it."""

    path: Path
    report: Path
    proof: Proof

    @property
    def warnings(self) -> list[str]:
        """What somebody should look at before the file goes anywhere. Made-up rows are nobody's, raw ones are known.

        One is for who knows the fewest columns, and one for who knows every feature.
        """
        treatments = set(self.proof.policy.values())
        if "mock" in treatments or treatments == {"raw"}:
            return []
        alone = [one for one in self.proof.crowds if one["after"]["alone"]]
        return [self._warning(one) for one in alone if one is alone[0] or one is self.proof.crowds[-1]]

    def _warning(self, crowd: dict[str, Any]) -> str:
        people, names = crowd["after"]["alone"], _known(crowd["columns"])
        who = "1 person is" if people == 1 else f"{people} people are"
        hint = "drop or generalise" if "raw" in {self.proof.policy[one] for one in crowd["columns"]} else "drop"
        hint += f" one of these in privacy.columns of config/{self.proof.stage}.yaml, or set privacy.sensitive to mock"
        return f"{who} alone with their {names}, and could be known by them: {hint}"


@dataclass(frozen=True)
class Preparer:
    """Prepares data for `stage`, whose privacy settings are `privacy`, under the settings of the current stage.

    `quality` says what a model of the raw rows and one of the masked rows are worth, as `compare_quality` does.
    """

    problem: Problem
    settings: Settings
    stage: Stage
    privacy: PrivacySettings
    quality: Callable[[Table, Table], dict[str, Any]]
    progress: Progress = silent

    def prepare(self, path: Path, fraction: float = 1.0) -> Prepared:
        """Read, sample, mask, measure, and write the file with its proof and its report.

        Raises
        ------
        UserError
            The current stage may not see the source, or the file would be written over it.
        DataError
            The source cannot be read, or cannot be masked as the stage wants it.
        """
        problem, settings = self.problem, self.settings
        policy = Policy.of(self.stage, problem.columns, self.privacy)
        self._refuse(path, fraction, policy)
        with step(self.progress, "read data") as note:
            source = read_raw(problem, settings.data, settings.root)
            raw = source[sampled(problem, source, fraction)].reset_index(drop=True)
            note.text = f"{len(source)} rows" + (f", {len(raw)} of them sampled" if fraction < 1 else "")
        with step(self.progress, "treat") as note:
            key = self._key(policy)
            after = masked(problem, raw, policy, key)
            before = masked(problem, raw, Policy.of(Stage.LOCAL, problem.columns), None)
            table = self._table(raw, after, policy, key)
            note.text = f"for stage {self.stage}" + (f", key {key.fingerprint}" if key else "")
        with step(self.progress, "measure") as note:
            measured = measure(problem, raw, after.frame, policy)
            measured["quality"] = quality = self.quality(before, after)
            note.text = f"{problem.deciding_metric.name} " + (
                f"{quality['treated']:.4g}, raw {quality['raw']:.4g}" if "treated" in quality else "not measured"
            )
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        content = buffer.getvalue()
        proof = Proof(
            file_digest=hashlib.sha256(content).hexdigest(),
            stage=str(self.stage),
            problem=problem.name,
            policy=dict(policy.treatments),
            schema_digest=schema_digest(problem),
            key=key.fingerprint if key else "",
            made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            source=mask(settings.data.source),
            source_digest=digest(source),
            fraction=float(fraction),
            rows={
                "source": len(source),
                "training": int((~after.held_out).sum()),
                "holdout": int(after.held_out.sum()),
            },
            **measured,
        ).sealed(key)
        report = path.with_name(f"{path.stem}.report.md")
        text = as_markdown(path.name, proof)
        write_together({path: content, proof_of(path): proof.to_json().encode(), report: text.encode()})
        return Prepared(path, report, proof)

    def _refuse(self, path: Path, fraction: float, policy: Policy) -> None:
        """What can be known before anything is read."""
        stage, source = self.settings.stage, self.settings.data.source
        if not sees_raw(stage):
            what = f"stage {stage} may not see the source raw, so it prepares no data"
            raise UserError(what, "Give the command with KIT_STAGE=local, or in a stage that sees production's data")
        if path.suffix != ".parquet":
            raise UserError(f"'{path.name}' is no Parquet file", "Let --to end with .parquet")
        if "://" not in source and path.resolve() == (self.settings.root / source).resolve():
            raise UserError(f"'{path.name}' is the source itself", "Name another file with --to")
        if find_prepared(self.settings.data, self.settings.root):
            hint = "Let data.source name what that was made from, as in KIT_DATA__SOURCE=data/rows.csv"
            raise UserError(f"the source '{source}' was prepared itself", hint)
        if not 0 < fraction <= 1:
            raise UserError(f"a fraction of {fraction:g} is none", "Give --fraction a number above 0, up to 1")
        taken = [c.name for c in self.problem.columns if c.name == SPLIT or c.name.startswith(ROW_KEY)]
        if taken:
            raise UserError(f"the schema has a column '{taken[0]}', which is the kit's own name", "Rename the column")
        policy.require_possible()

    def _key(self, policy: Policy) -> StageKey | None:
        place = self.stage, self.privacy.key, self.settings.root
        return find_key(*place) if policy.is_raw else make_key(*place)

    def _table(self, raw: pd.DataFrame, after: Table, policy: Policy, key: StageKey | None) -> pd.DataFrame:
        """What is written: what the stage may see of each column, the row's side, and keyed hashes of its ids.

        In an order that the key gives: from the source's, rows under two keys would be known by their places.
        """
        shown: dict[str, Any] = {}
        for column in self.problem.columns:
            treatment = policy.treatments[column.name]
            if treatment == "pseudonymise" and key:
                shown[column.name] = pseudonyms(raw[column.name], key)
            elif treatment != "drop" or column.role == "feature":
                shown[column.name] = after.frame[column.name]
        shown[SPLIT] = pd.Series(after.held_out).map({True: "holdout", False: "training"})
        hashes = hashes_of(self.problem, raw, policy, key)
        table = pd.DataFrame(shown | {f"{ROW_KEY}{name}": made for name, made in hashes.items()})
        if key is None:
            return table
        places = row_keys(pd.util.hash_pandas_object(raw, index=False), key, "place")
        return table.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
