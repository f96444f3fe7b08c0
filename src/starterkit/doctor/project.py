"""What the project gives: a problem that can be built, and data that fits it."""

from collections.abc import Iterator

from starterkit.data import DatasetReader
from starterkit.doctor.finding import Finding, well
from starterkit.problem import find_problem
from starterkit.settings import Layers
from starterkit.training import require_contrast


def problem(layers: Layers) -> Iterator[Finding]:
    found = find_problem()
    found.build(found.parameters(layers.settings.training.params, layers.settings.training.seed))
    yield well("problem", f"{found.title}: {len(found.features)} features, {found.task}")


def data(layers: Layers) -> Iterator[Finding]:
    settings = layers.settings
    place = settings.data, settings.root, settings.stage, settings.privacy
    dataset = DatasetReader(find_problem(), *place, keep_key=False).read()
    require_contrast(dataset)
    yield well("data", f"{len(dataset)} rows, {len(dataset.holdout)} of them held out")
