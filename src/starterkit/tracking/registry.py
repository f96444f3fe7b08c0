"""`ModelRegistry`: a problem's versions in one stage, which of them is the champion, and their files."""

import hmac
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from starterkit.errors import ContractError, TrackingError
from starterkit.files import scratch_folder
from starterkit.serving.graph import Compute
from starterkit.serving.predictor import CONTRACT_FILE, Predictor, sha256
from starterkit.settings import Settings, Stage
from starterkit.tracking.connection import ABSENT, Connection, ask_for, connect, explained
from starterkit.tracking.queries import fetch_model
from starterkit.tracking.store import Aliased, LocalStore

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from pydantic import SecretStr

CHAMPION = "champion"
CHALLENGER = "challenger"
"""The alias of the version that is scored in the shadow, where `serving.shadow` names it."""
_NAMED = 20


class UnknownVersion(TrackingError):
    """A version was named that is not there."""

    exit_code = 2


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    model: str
    number: int
    run: str
    tags: Mapping[str, str]
    created: datetime
    source: str = ""

    def __str__(self) -> str:
        return f"{self.model} version {self.number}"


def address_of(version: Version) -> str:
    """How MLflow's clients name a version."""
    return f"models:/{version.model}/{version.number}"


def champion_at_hand(store: LocalStore, model: str) -> Aliased | None:
    """A local store's champion, read without loading MLflow.

    None where that is not plain, and where there is no champion: `ModelRegistry` says why.
    """
    found = store.aliased(model, CHAMPION)
    if found is None or not os.access(found.folder / CONTRACT_FILE, os.R_OK):
        return None
    version = Version(model, found.number, found.run, found.tags, datetime.fromtimestamp(0, UTC))
    return None if _other_files(version, found.folder) else found


# --- A version's files are those that its gate judged. See docs/decisions/0025-trust.md.

CONTRACT = "contract"
"""A version's tag: the SHA-256 of the ``contract.json`` that its gate judged, which holds those of the other files."""
SIGNATURE = "signature"
"""A version's tag: the stage's signature of that digest and the evidence's. See `ModelRegistry.sign`."""
BUNDLE = "bundle"
"""The tag of runs and versions that holds the SHA-256 of the manifest that they came with."""


def require_judged(version: Version, folder: Path) -> None:
    """See that an exported folder is the version's: made by its run and, where its gate has spoken, what that judged.

    Raises
    ------
    ContractError
        It is another one.
    """
    if fault := _other_files(version, folder):
        hint = "See who writes to MLflow's artifacts and bring the files back; `starterkit rollback` lets an earlier"
        raise ContractError(fault, f"{hint} champion serve")


def _other_files(version: Version, folder: Path) -> str:
    """In words, why the files are not the version's; nothing where they are. Whoever opens them sees the rest."""
    if not (folder / CONTRACT_FILE).exists():
        return ""
    written = (folder / CONTRACT_FILE).read_bytes()
    judged = version.tags.get(CONTRACT, "")
    if judged and judged != sha256(written):
        return f"the files of {version} are not those that its gate judged: contract.json is another one"
    try:
        run = str(json.loads(written)["lineage"]["run"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    # What came with a bundle was trained on another server, and its run here is another one.
    known = version.tags.get("run", "") if BUNDLE in version.tags else version.run
    return f"the files of {version} are of run {run[:40]}, and it was made by run {known}" if known != run else ""


class ModelRegistry:
    """The versions of ``<stage>.<name>``. With `key` the stage signs what its gate passed, where it has one."""

    def __init__(self, connection: Connection, stage: Stage, name: str, key: "SecretStr | None" = None) -> None:
        self.connection = connection
        self._key = key
        self._client = connection.client
        self.stage = stage
        self.model = f"{stage}.{name}"

    @classmethod
    def of(cls, settings: Settings, name: str) -> Self:
        """A problem's registry in the stage that the settings are of.

        Raises
        ------
        TrackingError
            There is no MLflow where the settings say.
        """
        key = settings.promotion.version_key
        return cls(connect(settings.tracking, settings.root), settings.stage, name, key)

    def sign(self, version: Version, contract: str, evidence: str) -> str:
        """The signature (HMAC-SHA256) of a version with what its gate judged, and on what; empty without a key."""
        if self._key is None:
            return ""
        signed = json.dumps([version.model, version.number, version.run, contract, evidence])
        return hmac.new(self._key.get_secret_value().encode(), signed.encode(), "sha256").hexdigest()

    def register(self, run: str, model_id: str, tags: Mapping[str, str], description: str) -> Version:
        """A new version of the exported model that a run logged, with its lineage as tags."""
        return self._make(f"models:/{model_id}", run, tags, description, model_id)

    def copy(self, version: Version, tags: Mapping[str, str], description: str) -> Version:
        """A new version here of another registered model's version: the same files and the same run.

        This is what MLflow's `copy_model_version` does, but for the tags. Those of the other stage's gate would say
        that this stage's gate has passed it.
        """
        return self._make(address_of(version), version.run, tags, description)

    def _make(
        self, source: str, run: str, tags: Mapping[str, str], description: str, model_id: str | None = None
    ) -> Version:
        ask_for(self._client.create_registered_model, self.model, refusals=["RESOURCE_ALREADY_EXISTS"])
        made = self._client.create_model_version(
            self.model, source=source, run_id=run, model_id=model_id, tags=dict(tags), description=description
        )
        return self.version(int(made.version))

    def version(self, number: int | None = None) -> Version:
        """A version by number; the newest without one.

        Raises
        ------
        UnknownVersion
            There is no such version.
        """
        found = self.versions()
        for candidate in found:
            if number is None or candidate.number == number:
                return candidate
        if not found:
            raise UnknownVersion(f"registered model '{self.model}' has no version", "Run `starterkit run` first")
        hint = f"Name one of {', '.join(reversed([str(candidate.number) for candidate in found[:_NAMED]]))}"
        raise UnknownVersion(f"registered model '{self.model}' has no version {number}", hint)

    def find(self, name: str) -> Version:
        """A version by what a person calls it: a number, or ``champion``.

        Raises
        ------
        UnknownVersion
            There is no such version.
        """
        if name == CHAMPION:
            champion = self.champion()
            if champion is None:
                raise UnknownVersion(f"registered model '{self.model}' has no champion", "Run `starterkit run` first")
            return champion
        if not (name.isascii() and name.isdigit()):
            raise UnknownVersion(f"'{name[:40]}' names no version", f"Give a number, or {CHAMPION}")
        return self.version(int(name))

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        found = self._client.search_model_versions(f"name = '{self.model}'", order_by=["version_number DESC"])
        return [_version(one) for one in found]

    def aliases(self) -> Mapping[str, int]:
        """The number that each alias points at, whether there is such a version or not."""
        return {alias: int(number) for model in self._registered() for alias, number in model.aliases.items()}

    def champion(self) -> Version | None:
        """The version that serves, or None where there is none yet."""
        absent = ABSENT, "INVALID_PARAMETER_VALUE"
        one = ask_for(self._client.get_model_version_by_alias, self.model, CHAMPION, refusals=absent)
        return _version(one) if one else None

    def set_champion(self, version: Version) -> None:
        """Let the alias point at this version."""
        self._client.set_registered_model_alias(self.model, CHAMPION, str(version.number))

    def set_challenger(self, version: Version | None) -> None:
        """Let the alias of the shadow point at this version, or at none."""
        if version is None:
            self._client.delete_registered_model_alias(self.model, CHALLENGER)
        else:
            self._client.set_registered_model_alias(self.model, CHALLENGER, str(version.number))

    def delete(self, version: Version) -> None:
        """Take a version out of the registry. Its files and its run stay, and its number is not given again."""
        self._client.delete_model_version(self.model, str(version.number))

    def tags(self) -> Mapping[str, str]:
        """The registered model's own tags; none where there is no such model yet."""
        return {key: value for model in self._registered() for key, value in model.tags.items()}

    def _registered(self) -> "list[RegisteredModel]":
        """The registered model alone, or nothing."""
        return list(self._client.search_registered_models(f"name = '{self.model}'"))

    def tag_model(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_registered_model_tag(self.model, key, value)

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self.model, str(version.number), key, value)

    def describe(self, text: str, tags: Mapping[str, str]) -> None:
        """What the registered model's page says."""
        self._client.update_registered_model(self.model, text)
        self.tag_model(tags)

    def describe_version(self, version: Version, text: str) -> None:
        self._client.update_model_version(self.model, str(version.number), text)

    def location(self, version: Version) -> str:
        """Where the files of a version's exported folder are."""
        return self._client.get_model_version_download_uri(self.model, str(version.number))

    def open(self, version: Version, compute: Compute | None = None) -> Predictor:
        """A version, ready to answer."""
        with scratch_folder() as folder:  # a predictor keeps nothing open
            return Predictor(self.fetch(version, folder), compute)

    def fetch(self, version: Version, into: Path) -> Path:
        """Copy a version's exported folder to `into`, and see that it is the version's."""
        fetch_model(self.connection, address_of(version), into)
        if not (into / CONTRACT_FILE).exists():
            hint = f"Bring them back, or take the alias '{CHAMPION}' off it in `starterkit ui`"
            raise ContractError(f"the files of {version} are gone from MLflow's artifacts", hint)
        require_judged(version, into)
        return into


def _version(found: "ModelVersion") -> Version:
    return Version(
        model=found.name,
        number=int(found.version),
        run=found.run_id or "",
        tags=dict(found.tags),
        created=datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, UTC),
        source=found.source or "",
    )


# --- A version's files on MLflow's server: who else has them, how many bytes they are, and how they go.

_LOGGED_MODEL = re.compile(r"/models/(m-[0-9a-f]+)(?:/|$)")


def files_of(registry: ModelRegistry, version: Version) -> str:
    """The id of the logged model whose files a version has; empty where MLflow does not say."""
    found = _LOGGED_MODEL.search(registry.location(version))
    return found[1] if found else ""


def others_with(connection: Connection, files: str) -> list[str]:
    """The versions of any registered model that have these files: copies share them."""
    logged = _logged(connection, files)
    if logged is None:
        return []
    client, sharing = connection.client, []
    for one in client.search_model_versions(f"run_id = '{logged[1]}'"):
        location = client.get_model_version_download_uri(one.name, one.version)
        if files in _LOGGED_MODEL.findall(location):
            sharing.append(f"{one.name} version {one.version}")
    return sharing


def size_of(connection: Connection, files: str) -> int | None:
    """The files' bytes; None where the server does not tell."""
    try:
        with explained(connection.name):
            repository = _repository(connection, files)
            return sum(_sizes(repository, "")) if repository else 0
    except TrackingError:
        return None


def delete_with_files(registry: ModelRegistry, number: int, files: str) -> bool:
    """Delete a version and its files, or what is left of them; False where the files stay.

    The version goes first: nobody can go back to one whose files are half gone. The files go with the last version
    that has them. The run stays, and what the gate left with it.
    """
    for version in registry.versions():
        if version.number == number:
            registry.delete(version)
    if not files or others_with(registry.connection, files):
        return False
    return _remove(registry.connection, files)


def _remove(connection: Connection, files: str) -> bool:
    """Delete the files and mark the logged model as deleted; False where the server or its storage cannot."""
    from mlflow.exceptions import MlflowException

    with explained(connection.name):
        repository = _repository(connection, files)
    if repository is None:
        return True
    try:
        repository.delete_artifacts()
    except (MlflowException, NotImplementedError, OSError):
        return False
    connection.client.delete_logged_model(files)
    return True


def _sizes(repository: "ArtifactRepository", folder: str) -> Iterator[int]:
    for one in repository.list_artifacts(folder or None):
        if one.is_dir:
            yield from _sizes(repository, one.path)
        else:
            yield one.file_size or 0


def _repository(connection: Connection, files: str) -> "ArtifactRepository | None":
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    logged = _logged(connection, files)
    return get_artifact_repository(logged[0]) if logged else None


def _logged(connection: Connection, files: str) -> tuple[str, str] | None:
    """Where a logged model's files are, and its run; None where it is deleted."""
    model = ask_for(connection.client.get_logged_model, files) if files else None
    return (model.artifact_location, model.source_run_id or "") if model else None
