"""`DatasetReader`: a stage's source, or the file that was prepared for it, as the stage may see it, split for good."""

import hashlib
import io
import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import pandas as pd

from starterkit.contract import Treatment, column_words
from starterkit.data.checking import check_frame
from starterkit.data.dataset import Dataset, Hashes, Table, hashes_of, held_out, keys_among
from starterkit.data.masking import Proof, StageKey, find_key, make_key, mask_rows
from starterkit.data.policy import Policy
from starterkit.data.sources import CsvFile, open_source
from starterkit.data.synthetic import require_rows
from starterkit.errors import DataError, first_line
from starterkit.problem import Problem
from starterkit.settings import DataSettings, PrivacySettings, Settings, Stage, mask

# --- A data file that was prepared for a stage: the masked rows with their sides, and the proof beside them.

SPLIT = "split"
ROW_KEY = "row_key."
_PROOF = ".proof.json"


def proof_of(path: Path) -> Path:
    """Where the proof of a data file is."""
    return path.with_name(f"{path.stem}{_PROOF}")


def usual_place(problem: Problem, stage: Stage) -> str:
    """Where a stage's prepared data is, unless somebody says otherwise."""
    return f"data/{stage}/{problem.name}.parquet"


def preparing(problem: Problem, stage: Stage, source: str) -> str:
    """The sentence that says how a stage gets its data set."""
    usual = usual_place(problem, stage)
    file = source if source.endswith(".parquet") and "://" not in source else usual
    command = f"KIT_STAGE=local starterkit data prepare --for {stage}" + (f" --to {file}" if file != usual else "")
    words = f"Run `{command}`"
    return words if file == source else f"{words}, and set data.source to {file} in config/{stage}.yaml"


def find_prepared(settings: DataSettings, root: Path) -> Path | None:
    """The file that the settings name, if a proof lies beside it."""
    if settings.is_database or not settings.source.endswith(".parquet"):
        return None
    path = root / settings.source
    return path if proof_of(path).is_file() else None


def read_prepared(problem: Problem, path: Path, source: str, policy: Policy, key: StageKey | None) -> Table:
    """The rows of a prepared file, once its proof holds. The sides are those that were made from the raw ids.

    Raises
    ------
    DataError
        The file cannot be read, or is not what the stage may load.
    """
    hint = preparing(problem, policy.stage, source)
    try:
        proof = Proof.from_json(proof_of(path).read_bytes(), proof_of(path).name, hint)
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{Path(error.filename).name} cannot be read: {error.strerror}", hint) from error
    proof.check(source, hashlib.sha256(content).hexdigest(), policy, schema_digest(problem), key, hint)
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:  # its digest holds, so another version of the library wrote it
        raise DataError(f"{path.name} cannot be read: {first_line(error)}", hint) from error
    hashes: dict[str, Hashes] = {
        name.removeprefix(ROW_KEY): frame[name].to_numpy() for name in map(str, frame) if name.startswith(ROW_KEY)
    }
    raw: dict[str, Treatment] = dict.fromkeys(policy.treatments, "raw")
    made = Policy(policy.stage, policy.columns, raw | dict(proof.policy))
    return Table(
        frame=frame[[column.name for column in problem.columns if column.name in frame]],
        held_out=(frame[SPLIT] == "holdout").to_numpy(),
        keys=keys_among(problem, hashes, made, proof.key),
        groups=hashes[problem.group.name] if problem.group else None,
        policy=made.named,
    )


def schema_digest(problem: Problem) -> str:
    """SHA-256 over what the schema and the holdout say of the rows; words for people do not count."""
    spoken = ("description", "unit")
    columns = [{k: v for k, v in column_words(column).items() if k not in spoken} for column in problem.columns]
    said = {"problem": problem.name, "columns": columns, "holdout": asdict(problem.holdout)}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


# --- The reader.


@dataclass(frozen=True)
class DatasetReader:
    """Reads a stage's source, checks it against the schema, masks it and splits it.

    A file that was prepared for the stage is recognised by the proof beside it. `keep_key` is False for who only
    looks: where the stage needs a key and has none, none is kept.
    """

    problem: Problem
    settings: DataSettings
    root: Path
    stage: Stage
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    keep_key: bool = field(default=True, kw_only=True)

    @classmethod
    def of(cls, problem: Problem, settings: Settings, *, keep_key: bool = True) -> Self:
        """The reader of the stage that the settings are of."""
        return cls(problem, settings.data, settings.root, settings.stage, settings.privacy, keep_key=keep_key)

    def read(self) -> Dataset:
        """
        Raises
        ------
        DataError
            The stage may not see a column, or the source cannot be read, does not fit the schema, or leaves one side
            of the holdout or a feature empty; or a prepared file is not what its proof says.
        SettingsError
            The stage's policy does not fit the schema.
        ProblemError
            The project's `load` fails.
        """
        problem, where = self.problem, mask(self.settings.source)
        policy = Policy.of(self.stage, problem.columns, self.privacy)
        prepared = find_prepared(self.settings, self.root)
        if prepared:
            key = find_key(self.stage, self.privacy.key, self.root)
            return read_prepared(problem, prepared, where, policy, key).split(problem, where)
        self._require_maskable(where)
        policy.require_possible()
        frame = read_raw(problem, self.settings, self.root)
        dataset = masked(problem, frame, policy, self._key(policy)).split(problem, where)
        source = open_source(self.settings, self.root, problem)
        return replace(dataset, dialect=source.dialect) if isinstance(source, CsvFile) else dataset

    def _require_maskable(self, where: str) -> None:
        hidden = ", ".join(column.name for column in self.problem.columns if column.sensitivity == "sensitive")
        if self.stage is not Stage.TEST or not hidden:  # test wants proof that it was done before
            return
        lacking = f"{where} has no proof that they are treated"
        if not self.settings.is_database and not (self.root / self.settings.source).exists():
            lacking = f"{where} does not exist"
        what = f"stage {self.stage} may not see {hidden} raw, and {lacking}"
        raise DataError(what, preparing(self.problem, self.stage, where))

    def _key(self, policy: Policy) -> StageKey | None:
        if not (policy.hides_identifiers or policy.mocks):
            return None
        if self.keep_key:
            return make_key(self.stage, self.privacy.key, self.root)
        return find_key(self.stage, self.privacy.key, self.root) or StageKey(secrets.token_hex(32), self.stage)


def read_raw(problem: Problem, settings: DataSettings, root: Path) -> pd.DataFrame:
    """The source's rows as they are, checked. Whoever calls this has asked whether the stage may see them.

    Raises
    ------
    DataError, ProblemError
        What `DatasetReader.read` raises.
    """
    where = mask(settings.source)  # it is logged, and an environment variable may hold a password
    source = open_source(settings, root, problem)
    return check_frame(problem, problem.read(source), where)


def masked(problem: Problem, frame: pd.DataFrame, policy: Policy, key: StageKey | None) -> Table:
    """Checked rows as a stage may see them; the sides come from the raw ids and are the same in every stage."""
    if policy.mocks:
        require_rows(len(frame))
    hashes = hashes_of(problem, frame, policy, key)
    return Table(
        held_out=held_out(problem, frame),  # before anything is masked
        frame=mask_rows(policy, frame, key),
        keys=keys_among(problem, hashes, policy, key.fingerprint if key else ""),
        groups=hashes[problem.group.name] if problem.group else None,
        policy=policy.named,
    )
