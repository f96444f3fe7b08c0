"""A data file that was prepared for a stage: the treated rows with their sides, and the proof beside them."""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from starterkit.contract import Treatment
from starterkit.data.dataset import Hashes, Table
from starterkit.data.keys import keys_among
from starterkit.errors import DataError, first_line
from starterkit.privacy import Policy, Proof, StageKey
from starterkit.problem import Problem
from starterkit.settings import DataSettings, Stage

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
    mend = preparing(problem, policy.stage, source)
    proof = _proof(path, mend)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", mend) from error
    proof.check(source, hashlib.sha256(content).hexdigest(), policy, schema_digest(problem), key, mend)
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:  # its digest holds, so another version of the library wrote it
        raise DataError(f"{path.name} cannot be read: {first_line(error)}", mend) from error
    hashes: dict[str, Hashes] = {
        name.removeprefix(ROW_KEY): frame[name].to_numpy() for name in map(str, frame) if name.startswith(ROW_KEY)
    }
    raw: dict[str, Treatment] = dict.fromkeys(policy.treatments, "raw")
    made = Policy(policy.stage, policy.columns, raw | dict(proof.policy))
    return Table(
        frame=frame[[column.name for column in problem.columns if column.name in frame]],
        side=(frame[SPLIT] == "holdout").to_numpy(),
        keys=keys_among(problem, hashes, made, proof.key),
        groups=hashes[problem.group.name] if problem.group else None,
        policy=made.named,
    )


def schema_digest(problem: Problem) -> str:
    """SHA-256 over what the schema and the holdout say of the rows; words for people do not count."""
    spoken = ("description", "unit")
    columns = [{k: v for k, v in asdict(column).items() if k not in spoken} for column in problem.columns]
    said = {"problem": problem.name, "columns": columns, "holdout": asdict(problem.holdout)}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _proof(path: Path, mend: str) -> Proof:
    place = proof_of(path)
    try:
        return Proof.from_json(place.read_bytes(), place.name, mend)
    except OSError as error:
        raise DataError(f"{place.name} cannot be read: {error.strerror}", mend) from error
