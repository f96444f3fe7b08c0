"""The model that a command answers with: the stage's champion, or an exported folder."""

from pathlib import Path

from starterkit.errors import TrackingError
from starterkit.inference import Predictor
from starterkit.serving import ServedModel
from starterkit.settings import Settings


def find_champion(settings: Settings, folder: Path | None = None) -> ServedModel:
    """Open the exported folder, or fetch and open what the alias points at.

    Raises
    ------
    ContractError
        The folder is incomplete or altered.
    TrackingError
        The registry cannot be reached, or has no champion.
    """
    threads = settings.serving.threads
    if folder is not None:
        predictor = Predictor(folder, threads)
        return ServedModel(predictor.contract.problem, f"folder {folder.name}", predictor)
    from starterkit.problem import find_problem
    from starterkit.registry import ModelRegistry
    from starterkit.tracking import connect

    registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, find_problem().name)
    champion = registry.champion()
    if champion is None:
        raise TrackingError(f"registered model '{registry.model}' has no champion", "Run `starterkit run` first")
    return ServedModel(champion.model, str(champion.number), registry.open(champion, threads))
