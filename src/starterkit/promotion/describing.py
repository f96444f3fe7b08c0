"""`Describer` keeps what MLflow's pages say in step with what is there."""

from collections.abc import Iterable

from starterkit.contract import Lineage
from starterkit.problem import Problem
from starterkit.registry import ModelRegistry, Version
from starterkit.reports.descriptions import Place, Trained, experiment_text, model_text, run_text, version_text
from starterkit.tracking import describe_experiment, describe_run, look_up
from starterkit.verdict import Verdict


class Describer:
    """Reads from MLflow what a page is about, puts it into words, and hands them to MLflow.

    Words follow from what is there. So each call writes them anew, and one that was interrupted is made good by the
    next.
    """

    def __init__(self, problem: Problem, registry: ModelRegistry) -> None:
        self._problem = problem
        self._registry = registry
        self._connection = registry.connection

    def run(self, run: str) -> None:
        """A run, and the experiment to which it belongs."""
        place, trained = self._look_up(run)
        if trained is None:
            return
        describe_experiment(self._connection, place.experiment, experiment_text(self._problem, place))
        versions = sorted(version.number for version in self._registry.versions() if version.run == run)
        describe_run(self._connection, run, run_text(self._problem, place, trained, versions))

    def version(self, version: Version, verdicts: Iterable[Verdict] | None = None) -> None:
        """A version; `verdicts` are None where the gate was not asked yet."""
        place, trained = self._look_up(version.run)
        text = version_text(self._problem, place, version.number, trained, verdicts)
        self._registry.describe_version(version, text)

    def model(self) -> None:
        """The registered model, and which version serves now."""
        champion = self._registry.champion()
        place, trained = self._look_up(champion.run if champion else "")
        text = model_text(self._problem, place, champion.number if champion else None, trained)
        self._registry.describe(text, {"task": self._problem.task, "metric": self._problem.metric})

    def _look_up(self, run: str) -> tuple[Place, Trained | None]:
        """What a run holds; None where this store does not have it, or where it is not one of the kit's."""
        record = look_up(self._connection, run) if run else None
        place = Place(
            address=self._connection.name,
            name=self._registry.model,
            experiment=record.experiment if record else "",
        )
        try:
            lineage = Lineage.from_tags(record.tags) if record else None
        except (KeyError, ValueError):
            lineage = None
        if record is None or lineage is None:
            return place, None
        return place, Trained(
            lineage=lineage,
            name=record.name,
            holdout_rows=int(record.tags.get("holdout_rows", 0)),
            metrics=record.metrics,
            model=record.tags.get("exported_model_id", ""),
        )
