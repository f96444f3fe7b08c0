"""`DatasetReader`: a stage's source as the stage may see it."""

from pathlib import Path

import pandas as pd

from starterkit.data.checking import check_frame
from starterkit.data.dataset import Dataset, Table
from starterkit.data.holdout import held_out
from starterkit.data.keys import hashes_of, keys_among
from starterkit.data.prepared import find_prepared, preparing, read_prepared
from starterkit.data.sources import open_source
from starterkit.errors import DataError
from starterkit.privacy import Policy, StageKey, find_key, make_key, throwaway_key, treats_as_it_reads
from starterkit.privacy.mock import require_rows
from starterkit.privacy.treating import treat
from starterkit.problem import Problem
from starterkit.settings import DataSettings, PrivacySettings, Stage, mask


class DatasetReader:
    """Reads a stage's source, checks it against the schema, treats it and takes the two sides apart.

    A file that was prepared for the stage is recognised by the proof beside it. `keep_key` is False for who only
    looks: where the stage needs a key and has none, none is kept.
    """

    def __init__(
        self,
        problem: Problem,
        settings: DataSettings,
        root: Path,
        stage: Stage,
        privacy: PrivacySettings | None = None,
        *,
        keep_key: bool = True,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._root = root
        self._stage = stage
        self._privacy = privacy or PrivacySettings()
        self._keep_key = keep_key

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
        problem, where = self._problem, mask(self._settings.source)
        policy = Policy.of(self._stage, problem.columns, self._privacy)
        prepared = find_prepared(self._settings, self._root)
        if prepared:
            key = find_key(self._stage, self._privacy.key, self._root)
            return read_prepared(problem, prepared, where, policy, key).apart(problem, where)
        self._require_treatable(where)
        policy.require_possible()
        frame = read_raw(problem, self._settings, self._root)
        return treated(problem, frame, policy, self._key(policy)).apart(problem, where)

    def _require_treatable(self, where: str) -> None:
        columns = self._problem.columns
        if treats_as_it_reads(self._stage, columns):
            return
        hidden = ", ".join(column.name for column in columns if column.sensitivity == "sensitive")
        lacking = f"{where} has no proof that they are treated"
        if not self._settings.is_database and not (self._root / self._settings.source).exists():
            lacking = f"{where} does not exist"
        what = f"stage {self._stage} may not see {hidden} raw, and {lacking}"
        raise DataError(what, preparing(self._problem, self._stage, where))

    def _key(self, policy: Policy) -> StageKey | None:
        if not (policy.hides_identifiers or policy.mocks):
            return None
        if self._keep_key:
            return make_key(self._stage, self._privacy.key, self._root)
        return find_key(self._stage, self._privacy.key, self._root) or throwaway_key(self._stage)


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


def treated(problem: Problem, frame: pd.DataFrame, policy: Policy, key: StageKey | None) -> Table:
    """Checked rows as a stage may see them; the sides come from the raw ids and are the same in every stage."""
    if policy.mocks:
        require_rows(len(frame))
    side = held_out(problem, frame)
    hashes = hashes_of(problem, frame, policy, key)
    return Table(
        frame=treat(policy, frame, key),
        side=side,
        keys=keys_among(problem, hashes, policy, key.fingerprint if key else ""),
        groups=hashes[problem.group.name] if problem.group else None,
        policy=policy.named,
    )
