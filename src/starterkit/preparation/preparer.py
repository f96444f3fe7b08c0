"""`Preparer`: a source that may be seen here becomes the data set of a stage that may not see it.

See docs/data-policy.md.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from starterkit.data.dataset import Table, digest
from starterkit.data.keys import hashes_of
from starterkit.data.prepared import ROW_KEY, SPLIT, find_prepared, proof_of, schema_digest
from starterkit.data.reader import read_raw, treated
from starterkit.errors import UserError
from starterkit.preparation.measuring import measure
from starterkit.preparation.report import as_markdown
from starterkit.preparation.sampling import sampled
from starterkit.preparation.writing import write_together
from starterkit.privacy import Policy, Proof, StageKey, find_key, make_key, sees_raw
from starterkit.privacy.pseudonyms import pseudonyms
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.settings import PrivacySettings, Settings, Stage, mask


@dataclass(frozen=True)
class Prepared:
    """A data file that was written, and the proof beside it."""

    path: Path
    report: Path
    proof: Proof

    @property
    def warnings(self) -> list[str]:
        """What somebody should look at before the file goes anywhere. Made-up rows are nobody's, raw ones are known."""
        treatments = set(self.proof.policy.values())
        alone = [one for one in self.proof.crowds if one["after"]["alone"]]
        if not alone or "mock" in treatments or treatments == {"raw"}:
            return []
        people, names = alone[0]["after"]["alone"], ", ".join(alone[0]["columns"])
        who = "1 person is" if people == 1 else f"{people} people are"
        mend = (
            f"drop one of these in privacy.columns of config/{self.proof.stage}.yaml, or set privacy.sensitive to mock"
        )
        return [f"{who} alone with their {names}, and could be known by them: {mend}"]


class Preparer:
    """Prepares data for `stage`, whose privacy settings are `privacy`, under the settings of the current stage.

    `quality` says what a model of the raw rows and one of the treated rows are worth, as `compare_quality` does.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        stage: Stage,
        privacy: PrivacySettings,
        quality: Callable[[Table, Table], dict[str, Any]],
        progress: Progress = silent,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._stage = stage
        self._privacy = privacy
        self._quality = quality
        self._progress = progress

    def prepare(self, path: Path, fraction: float = 1.0) -> Prepared:
        """Read, sample, treat, measure, and write the file with its proof and its report.

        Raises
        ------
        UserError
            The current stage may not see the source, or the file would be written over it.
        DataError
            The source cannot be read, or cannot be treated as the stage wants it.
        """
        problem, settings = self._problem, self._settings
        policy = Policy.of(self._stage, problem.columns, self._privacy)
        self._refuse(path, fraction, policy)
        with step(self._progress, "read data") as note:
            source = read_raw(problem, settings.data, settings.root)
            raw = source[sampled(problem, source, fraction)].reset_index(drop=True)
            note.text = f"{len(source)} rows" + (f", {len(raw)} of them sampled" if fraction < 1 else "")
        with step(self._progress, "treat") as note:
            key = self._key(policy)
            after = treated(problem, raw, policy, key)
            before = treated(problem, raw, Policy.of(Stage.LOCAL, problem.columns), None)
            table = self._table(raw, after, policy, key)
            note.text = f"for stage {self._stage}" + (f", key {key.fingerprint}" if key else "")
        with step(self._progress, "measure") as note:
            measured = measure(problem, raw, after, table, policy)
            measured["quality"] = quality = self._quality(before, after)
            note.text = f"{problem.metric} " + (
                f"{quality['treated']:.4g}, raw {quality['raw']:.4g}" if "treated" in quality else "not measured"
            )
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        content = buffer.getvalue()
        proof = Proof(
            file_digest=hashlib.sha256(content).hexdigest(),
            stage=str(self._stage),
            problem=problem.name,
            policy=dict(policy.treatments),
            schema_digest=schema_digest(problem),
            key=key.fingerprint if key else "",
            made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            source=mask(settings.data.source),
            source_digest=digest(source),
            fraction=float(fraction),
            rows={"source": len(source), "training": int((~after.side).sum()), "holdout": int(after.side.sum())},
            **measured,
        ).sealed(key)
        report = path.with_name(f"{path.stem}.report.md")
        text = as_markdown(path.name, proof)
        write_together({path: content, proof_of(path): proof.to_json().encode(), report: text.encode()})
        return Prepared(path, report, proof)

    def _refuse(self, path: Path, fraction: float, policy: Policy) -> None:
        """What can be known before anything is read."""
        stage, source = self._settings.stage, self._settings.data.source
        if not sees_raw(stage):
            what = f"stage {stage} may not see the source raw, so it prepares no data"
            raise UserError(what, "Give the command with KIT_STAGE=local, or in a stage that sees production's data")
        if path.suffix != ".parquet":
            raise UserError(f"'{path.name}' is no Parquet file", "Let --to end with .parquet")
        if "://" not in source and path.resolve() == (self._settings.root / source).resolve():
            raise UserError(f"'{path.name}' is the source itself", "Name another file with --to")
        if find_prepared(self._settings.data, self._settings.root):
            mend = "Let data.source name what that was made from, as in KIT_DATA__SOURCE=data/rows.csv"
            raise UserError(f"the source '{source}' was prepared itself", mend)
        if not 0 < fraction <= 1:
            raise UserError(f"a fraction of {fraction:g} is none", "Give --fraction a number above 0, up to 1")
        taken = [c.name for c in self._problem.columns if c.name == SPLIT or c.name.startswith(ROW_KEY)]
        if taken:
            raise UserError(f"the schema has a column '{taken[0]}', which is the kit's own name", "Rename the column")
        policy.require_possible()

    def _key(self, policy: Policy) -> StageKey | None:
        place = self._stage, self._privacy.key, self._settings.root
        return find_key(*place) if policy.is_raw else make_key(*place)

    def _table(self, raw: pd.DataFrame, after: Table, policy: Policy, key: StageKey | None) -> pd.DataFrame:
        """What is written: what the stage may see of each column, the row's side, and keyed hashes of its ids."""
        shown: dict[str, Any] = {}
        for column in self._problem.columns:
            treatment = policy.treatments[column.name]
            if treatment == "pseudonymise" and key:
                shown[column.name] = pseudonyms(raw[column.name], key)
            elif treatment != "drop" or column.role == "feature":
                shown[column.name] = after.frame[column.name]
        shown[SPLIT] = pd.Series(after.side).map({True: "holdout", False: "training"})
        hashes = hashes_of(self._problem, raw, policy, key)
        return pd.DataFrame(shown | {f"{ROW_KEY}{name}": made for name, made in hashes.items()})
