"""The five stages, and which of them this process runs in."""

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum

from starterkit.errors import SettingsError


class Stage(StrEnum):
    """Where the code runs, from a workstation to the live API.

    The code moves up from `local` to `staging`; from `staging` to `prod` it is the model that moves.
    This has nothing to do with MLflow's retired model stages.
    """

    LOCAL = "local"
    DEV = "dev"
    TEST = "test"
    STAGING = "staging"
    PROD = "prod"


def read_stage(environ: Mapping[str, str]) -> Stage:
    """Read the stage from `KIT_STAGE`. Unset means `local`; anything but one of the five names is refused."""
    name = environ.get("KIT_STAGE", Stage.LOCAL)
    if name in list(Stage):
        return Stage(name)
    close = get_close_matches(name.strip().lower(), list(Stage), n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise SettingsError(
        f"KIT_STAGE: this is not a stage{meant}",
        f"Set it to one of {', '.join(Stage)}, or unset it for local",
    )
