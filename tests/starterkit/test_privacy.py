"""A stage that may not see a column raw cannot load it, whatever its settings say."""

import pytest

from example_project import problem
from starterkit.contract import Column
from starterkit.data import DatasetReader
from starterkit.errors import DataError
from starterkit.privacy import require_sight
from starterkit.settings import Settings, Stage

PLAIN = Column(name="bmi", role="feature", type="float", unit="kg/m²", sensitivity="plain")


@pytest.mark.parametrize("stage", [Stage.DEV, Stage.TEST])
def test_masked_stages_cannot_load_the_example(settings: Settings, stage: Stage) -> None:
    with pytest.raises(DataError, match=f"stage {stage} may not see age, sex, progression raw") as raised:
        DatasetReader(problem, settings.data, settings.root, stage).read()
    assert "local" in raised.value.mend


@pytest.mark.parametrize("stage", [Stage.LOCAL, Stage.STAGING, Stage.PROD])
def test_other_stages_load_it(settings: Settings, stage: Stage) -> None:
    assert len(DatasetReader(problem, settings.data, settings.root, stage).read()) == 442


@pytest.mark.parametrize("stage", list(Stage))
def test_plain_features_may_be_loaded_everywhere(stage: Stage) -> None:
    require_sight(stage, [PLAIN])
