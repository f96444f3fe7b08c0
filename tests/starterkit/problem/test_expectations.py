"""What a project expects is checked when it is said."""

from typing import Any

import pytest

from starterkit.errors import ProblemError
from starterkit.problem import Direction, Invariance, Jitter


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slices": ("nowhere",)}, "slices names 'nowhere', which is no feature. Use one of city"),
        ({"slices": ("cost",)}, "slices names 'cost', which is no feature"),
        ({"strong": ("visit",)}, "strong names 'visit'"),
        ({"robustness": (Direction(column="nowhere", answer="up"),)}, "Direction names 'nowhere'"),
        ({"robustness": (Direction(column="city", answer="up"),)}, "Direction names 'city', which is a text"),
        ({"robustness": (Invariance(column="nowhere"),)}, "Invariance names 'nowhere'"),
    ],
)
def test_what_names_no_feature_is_refused(visits: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        visits.problem(lambda: None, **changes)


def test_a_text_without_categories_is_no_slice(visits: Any) -> None:
    import pandera.pandas as pa

    from starterkit.problem import feature

    free: Any = type("Free", (visits.schema,), {"city": feature(sensitivity="plain"), "__annotations__": {"city": str}})
    assert issubclass(free, pa.DataFrameModel)
    with pytest.raises(ProblemError, match="slices names 'city', a text without declared categories"):
        visits.problem(lambda: None, schema=free, slices=("city",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jitter(share=-1),
        lambda: Jitter(worse=float("nan")),
        lambda: Direction(column="a", answer="sideways"),  # type: ignore[arg-type]
        lambda: Direction(column="a", answer="up", broken=-0.1),
        lambda: Invariance(column="a", change=-0.1),
    ],
)
def test_nonsense_is_refused(make: Any) -> None:
    with pytest.raises(ProblemError):
        make()
