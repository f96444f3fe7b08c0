"""`Describer` keeps what MLflow's pages say in step with what is there."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from starterkit.contract import Lineage
from starterkit.problem import Problem
from starterkit.registry import ModelRegistry, Version
from starterkit.tracking import describe_experiment, describe_run, look_up
from starterkit.verdict import Verdict

if TYPE_CHECKING:
    from starterkit import reports


class Describer:
    """Reads from MLflow what a page is about, lets `reports` put it into words, and hands them to MLflow.

    Words follow from what is there. So each call writes them anew, and one that was interrupted is made good by the
    next.
    """

    def __init__(self, problem: Problem, registry: ModelRegistry) -> None:
        self._problem = problem
        self._registry = registry
        self._connection = registry.connection

    def run(self, run: str) -> None:
        """A run, and the experiment to which it belongs."""
        from starterkit import reports

        place, trained = self._look_up(run)
        if trained is None:
            return
        self._experiment(place)
        versions = sorted(version.number for version in self._registry.versions() if version.run == run)
        describe_run(self._connection, run, reports.run_text(self._problem, place, trained, versions))

    def version(self, version: Version, verdicts: Iterable[Verdict] | None = None) -> None:
        """A version; `verdicts` are None where the gate was not asked yet."""
        from starterkit import reports

        place, trained = self._look_up(version.run)
        self._experiment(place)
        text = reports.version_text(self._problem, place, version.number, trained, verdicts)
        self._registry.describe_version(version, text)

    def model(self) -> None:
        """The registered model, and which version serves now."""
        from starterkit import reports

        champion = self._registry.champion()
        place, trained = self._look_up(champion.run if champion else "")
        self._experiment(place)
        text = reports.model_text(self._problem, place, champion.number if champion else None, trained)
        self._registry.describe(text, {"task": self._problem.task, "metric": self._problem.metric})

    def _experiment(self, place: "reports.Place") -> None:
        """To which all other pages lead."""
        from starterkit import reports

        if place.experiment:
            metric, text = self._problem.metric, reports.experiment_text(self._problem, place)
            describe_experiment(self._connection, place.experiment, text, [metric, f"baseline_{metric}"])

    def _look_up(self, run: str) -> "tuple[reports.Place, reports.Trained | None]":
        """What a run holds; None where this store does not have it, or where it is not one of the kit's."""
        from starterkit import reports

        record = look_up(self._connection, run) if run else None
        place = reports.Place(address=self._connection.name, name=self._registry.model)
        try:
            lineage = Lineage.from_tags(record.tags) if record else None
        except (KeyError, ValueError):
            lineage = None
        if record is None or lineage is None:
            return place, None
        return replace(place, experiment=record.experiment), reports.Trained(
            lineage=lineage,
            name=record.name,
            holdout_rows=int(record.tags.get("holdout_rows", 0)),
            metrics=record.metrics,
            model=record.tags.get("exported_model_id", ""),
        )
