"""`Doctor`: looks at the whole installation and says what fails, with its mend."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starterkit.data import DatasetReader
from starterkit.errors import KitError, SettingsError
from starterkit.problem import find_problem
from starterkit.progress import Progress, silent, step
from starterkit.registry import ModelRegistry
from starterkit.serving import require_port
from starterkit.settings import Layers, read_layers
from starterkit.tracking import check_round_trip, connect

_DISK_FLOOR = 500_000_000


@dataclass(frozen=True)
class Finding:
    """What is known of one thing."""

    item: str
    state: Literal["well", "warning", "failing"]
    text: str
    mend: str = ""


class Doctor:
    """Examines one thing after the other. A failure never hides the next one.

    Parameters
    ----------
    root
        The repository, or None to look for it upwards from the working directory.
    environ
        The environment that names the stage.
    progress
        Called when an examination begins and ends.
    """

    def __init__(
        self, root: Path | None = None, environ: Mapping[str, str] = os.environ, progress: Progress = silent
    ) -> None:
        self._root = root
        self._environ = environ
        self._progress = progress

    def examine(self) -> tuple[Finding, ...]:
        """Everything that was found. Nothing else can be examined where the settings fail."""
        findings: list[Finding] = []
        try:
            layers = read_layers(self._root, self._environ)
        except SettingsError as error:
            return (Finding("settings", "failing", error.what, error.mend),)
        findings.append(Finding("settings", "well", f"stage {layers.settings.stage}"))
        findings += [Finding("settings", "warning", text, "Mend it before the next stage") for text in layers.warnings]
        for item, examination in _EXAMINATIONS.items():
            with step(self._progress, item) as note:
                try:
                    finding = Finding(item, "well", examination(layers))
                except KitError as error:
                    # A taken port is no fault where the one who has it is the API itself.
                    state = "warning" if item == "API" and "in use" in error.what else "failing"
                    finding = Finding(item, state, error.what, error.mend)
                note.text = finding.state
            findings.append(finding)
        return tuple(findings)


def _disk(layers: Layers) -> str:
    root = layers.settings.root
    free = shutil.disk_usage(root).free
    if free < _DISK_FLOOR:
        raise SettingsError(f"{free // 1_000_000} MB are free", f"Free at least {_DISK_FLOOR // 1_000_000} MB")
    if not os.access(root, os.W_OK):
        owner = root.stat().st_uid
        raise SettingsError(f"the repository belongs to user {owner} and cannot be written", "Change its owner")
    return f"{free / 1e9:.0f} GB free, the repository can be written"


def _problem(layers: Layers) -> str:
    problem = find_problem()
    problem.build(problem.parameters(layers.settings.training.params, layers.settings.training.seed))
    return f"{problem.title}: {len(problem.features)} features, {problem.task}"


def _data(layers: Layers) -> str:
    settings = layers.settings
    dataset = DatasetReader(find_problem(), settings.data, settings.root, settings.stage).read()
    return f"{len(dataset)} rows, {len(dataset.holdout)} of them held out"


def _mlflow(layers: Layers) -> str:
    return check_round_trip(connect(layers.settings.tracking, layers.settings.root))


def _champion(layers: Layers) -> str:
    settings, problem = layers.settings, find_problem()
    registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, problem.name)
    champion = registry.champion()
    if champion is None:
        return "none yet; `starterkit run` makes one"
    registry.open(champion)
    return f"{champion} opens and gives its sample's answers"


def _api(layers: Layers) -> str:
    serving = layers.settings.serving
    if serving.require_api_key and serving.api_key is None:
        mend = "Set KIT_SERVING__API_KEY, or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("the stage requires an API key and has none", mend)
    require_port(serving.host, serving.port)
    return f"port {serving.port} is free"


_EXAMINATIONS: Mapping[str, Callable[[Layers], str]] = {
    "disk": _disk,
    "problem": _problem,
    "data": _data,
    "MLflow": _mlflow,
    "champion": _champion,
    "API": _api,
}
