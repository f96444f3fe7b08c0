"""`Doctor` asks one examination after the other. A failure never hides the next one."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from starterkit.cli.doctor import environment, models
from starterkit.cli.doctor.environment import Examination, Finding, warning, well
from starterkit.errors import KitError, SettingsError, of_machine
from starterkit.progress import Progress, silent, step
from starterkit.settings import Layers, read_layers

_EXAMINATIONS = (
    Examination("disk", environment.disk),
    Examination("problem", models.problem),
    Examination("data", models.data, needs=("problem",)),
    Examination("stack", environment.stack),
    Examination("MLflow", models.mlflow, needs=("stack",)),
    Examination("runs", models.runs, needs=("problem", "stack", "MLflow")),
    Examination("versions", models.versions, needs=("problem", "stack", "MLflow")),
    Examination("champion", models.champion, needs=("problem", "stack", "MLflow")),
    Examination("promotion", models.promotion, needs=("problem", "stack", "MLflow")),
    Examination("API", environment.api),
)


class Doctor:
    """Examines the installation and changes nothing of it, unless it is asked to `mend`.

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
        try:
            layers = read_layers(self._root, self._environ)
        except SettingsError as error:
            return (Finding("settings", "failing", error.what, error.hint),)
        findings = [well("settings", f"stage {layers.settings.stage}")]
        findings += [warning("settings", text, "Mend it before the next stage") for text in layers.warnings]
        failed: set[str] = set()
        for examination in _EXAMINATIONS:
            with step(self._progress, examination.item) as note:
                found = list(_examine(examination, layers, failed))
                states = {finding.state for finding in found}
                note.text = next((state for state in ("failing", "warning", "well") if state in states), "not needed")
            failed |= {finding.item for finding in found if finding.state == "failing"}
            findings += found
        return tuple(findings)

    def mend(self) -> None:
        """Settle a promotion that was killed half-way.

        Raises
        ------
        SettingsError, TrackingError
            The settings fail, MLflow cannot be reached, or somebody promotes right now.
        """
        with step(self._progress, "mend") as note:
            note.text = models.mend(read_layers(self._root, self._environ))


def _examine(examination: Examination, layers: Layers, failed: set[str]) -> Iterator[Finding]:
    item = examination.item
    for needed in examination.needs:
        if needed in failed:
            yield warning(item, f"not looked at, for {needed} fails", f"Mend {needed} first")
            return
    try:
        yield from examination.look(layers)
    except KitError as error:
        yield Finding(item, "failing", error.what, error.hint)
    except OSError as error:
        foreseen = of_machine(error)
        if foreseen is None:
            raise
        yield Finding(item, "failing", foreseen.what, foreseen.hint)
