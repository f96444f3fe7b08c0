"""`Receiver` makes a run and a logged model of what another server's run left, file by file."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from starterkit.errors import Refused, TrackingError
from starterkit.machine import PROCESS, state_of, this_process
from starterkit.tracking.connection import explained
from starterkit.tracking.runs import Tracker

_MODEL = "exported"
_OF_ANOTHER = "baseline_"
"""How the metrics begin that are not the model's own."""


class Receiver(Tracker):
    """An experiment that takes in runs. Nothing is trained, and no file is written anew."""

    @contextmanager
    def receive(
        self, name: str, tags: Mapping[str, str], metrics: Mapping[str, float], files: Path, model: Path
    ) -> Generator[tuple[str, str], None, None]:
        """A run as another server had it, and its logged model, with both folders' files as they are; their ids.

        The block makes a version of them. If it fails, run and model go again, unless there is a version by then.
        """
        client, experiment = self._connection.client, self._experiment_id()
        run = client.create_run(experiment, run_name=name, tags={**tags, PROCESS: this_process()}).info.run_id
        try:
            model_id = self._fill(experiment, run, metrics, files, model)
            yield run, model_id
        except BaseException:
            with suppress(TrackingError), explained(self._connection.name):
                self._discard(run)
            raise
        client.set_terminated(run)

    def clear(self, tag: str, value: str) -> None:
        """Remove what was half received under a tag. A run that has a version is whole, and counts as finished.

        Raises
        ------
        Refused
            A process of this machine receives it right now.
        """
        half = f"tags.{tag} = '{value}' and status != 'FINISHED'"
        found = self._connection.client.search_runs([self._experiment_id()], half)
        for run in found:
            if state_of(run.data.tags) == "alive":
                raise Refused("another process brings this in right now", "Wait until it is done")
            self._discard(run.info.run_id)

    def _fill(self, experiment: str, run: str, metrics: Mapping[str, float], files: Path, model: Path) -> str:
        from mlflow.entities import LoggedModelOutput, Metric

        client = self._connection.client
        client.log_artifacts(run, str(files))
        model_id = str(client.create_logged_model(experiment, _MODEL, source_run_id=run).model_id)
        client.log_model_artifacts(model_id, str(model))
        now = int(time.time() * 1000)
        own = {key: None if key.startswith(_OF_ANOTHER) else model_id for key in metrics}
        made = [Metric(key, value, now, 0, model_id=own[key]) for key, value in metrics.items()]
        client.log_batch(run, metrics=made)
        client.log_outputs(run, [LoggedModelOutput(model_id, 0)])
        client.set_tag(run, "exported_model_id", model_id)
        client.finalize_logged_model(model_id, "READY")
        return model_id

    def _discard(self, run: str) -> None:
        client = self._connection.client
        if client.search_model_versions(f"run_id = '{run}'"):  # somebody may rely on it
            client.set_terminated(run)
            return
        for model in client.search_logged_models([self._experiment_id()], filter_string=f"source_run_id = '{run}'"):
            client.delete_logged_model(model.model_id)
        client.delete_run(run)
