"""`Target`: a platform that runs the serving image.

See docs/decisions/0032-deploy.md.
"""

import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from starterkit.errors import KitError, UserError, meant

if TYPE_CHECKING:
    from starterkit.settings import Settings

PLATFORMS: dict[str, str] = {}
"""Where the class of each is, below this room. A copy of the template may be without some."""
# <kubernetes>
PLATFORMS["kubernetes"] = "kustomize.Kubernetes"
# </kubernetes>
# <kserve>
PLATFORMS["kserve"] = "kustomize.KServe"
# </kserve>
# <sagemaker>
PLATFORMS["sagemaker"] = "sagemaker.SageMaker"
# </sagemaker>
# <azure>
PLATFORMS["azure"] = "azure.AzureML"
# </azure>
_IMAGE = re.compile(r"[a-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+|@sha256:[0-9a-f]{64})", re.ASCII)
_SECONDS = 60


class Order(NamedTuple):
    """What is to run where: an image, its stage's settings and champion, and what the platform alone wants to know."""

    settings: "Settings"
    image: str
    model: str
    version: str
    given: Mapping[str, str]


class Plan(NamedTuple):
    """What would be done, in words, and the files with which it would be."""

    steps: tuple[str, ...]
    files: Mapping[str, str]


class Target(ABC):
    """One platform. `plan` asks nobody; `check` asks everything that can be asked before `apply` changes anything."""

    options: ClassVar[Mapping[str, str]] = {}
    """What it wants to know besides, and what that is if it is not said; empty where it has to be."""

    def __init__(self, order: Order) -> None:
        if unknown := [name for name in order.given if name not in self.options]:
            known = ", ".join(self.options) or "nothing"
            raise UserError(f"{unknown[0]} is nothing that is set{meant(unknown[0], self.options)}", f"Set {known}")
        given = {**self.options, **order.given}
        if missing := [name for name, value in given.items() if not value]:
            raise UserError(f"{missing[0]} is not set", f"Add --set {missing[0]}=…")
        self.order = order._replace(given=given)

    @abstractmethod
    def plan(self) -> Plan:
        """
        Raises
        ------
        KitError
            The platform cannot take what is ordered.
        """

    @abstractmethod
    def check(self) -> None:
        """
        Raises
        ------
        KitError
            A command, a right, a credential, the image or something else that `apply` needs is not there.
        """

    @abstractmethod
    def apply(self, plan: Plan) -> str:
        """Do it; in a line, what runs where."""


def target_of(platform: str, order: Order) -> Target:
    """
    Raises
    ------
    UserError
        There is no such platform, the image has no name that stays, or a value is unknown or missing.
    """
    if platform not in PLATFORMS:
        what = f"'{platform}' is no platform{meant(platform, PLATFORMS)}"
        raise UserError(what, f"Name one of {', '.join(PLATFORMS)}")
    if not order.image:
        what = "deploy needs the name of an image"
        raise UserError(what, "Build the serving image, push it to where the platform pulls from, and add --image")
    if not _IMAGE.fullmatch(order.image) or order.image.endswith(":latest"):
        what = f"'{order.image[:200]}' does not say which image, today and tomorrow"
        raise UserError(what, "Name it with its tag or digest, as in registry.example/api:1, and not :latest")
    module, _, name = PLATFORMS[platform].partition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)(order)


class HandedOn(NamedTuple):
    """What a cloud's container is told, as variables: what its own config/ does not say."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]


def handed_on(settings: "Settings", most_bytes: int, platform: str) -> HandedOn:
    """
    Raises
    ------
    UserError
        The platform hands on less in a request than the stage takes, the key that clients have to send is not known, or
        predictions would end with the machine.
    """
    from starterkit.settings import GATEKEEPERS  # `--help` names the platforms, and answers at once

    serving, feedback, tracking = settings.serving, settings.feedback, settings.tracking
    if serving.max_body_bytes > most_bytes:
        what = f"serving.max_body_bytes is {serving.max_body_bytes:,}, and {platform} hands on {most_bytes:,} at most"
        raise UserError(what, f"Set KIT_SERVING__MAX_BODY_BYTES={most_bytes}, and send more rows in several requests")
    if serving.require_api_key and serving.api_key is None:
        what = f"the stage {settings.stage} asks clients for a key, and serving.api_key is not set"
        raise UserError(what, "Set KIT_SERVING__API_KEY")
    kept = (feedback.database or "").startswith("postgresql")

    if feedback.log and not kept and settings.stage in GATEKEEPERS:
        what = "feedback.database is no PostgreSQL: predictions would end with the machine that answered"
        raise UserError(what, "Set KIT_FEEDBACK__DATABASE")
    plain = {
        "KIT_STAGE": settings.stage,
        "KIT_TRACKING__URI": tracking.uri if tracking.uri.startswith("http") else None,
        "KIT_TRACKING__USERNAME": tracking.username,
        "KIT_SERVING__MAX_BODY_BYTES": serving.max_body_bytes,
        "KIT_SERVING__MAX_ROWS": serving.max_rows,
        "KIT_SERVING__WORKERS": serving.workers,
        "KIT_SERVING__THREADS": serving.threads,
        "KIT_SERVING__MEMORY_MB": serving.memory_mb,
        "KIT_FEEDBACK__DATABASE": feedback.database if kept else None,
    }
    secret = {
        "KIT_SERVING__API_KEY": serving.api_key if serving.require_api_key else None,
        "KIT_TRACKING__PASSWORD": tracking.password,
        "KIT_TRACKING__TOKEN": tracking.token,
        "KIT_FEEDBACK__PASSWORD": feedback.password if kept else None,
    }
    return HandedOn(
        {name: str(value) for name, value in plain.items() if value is not None},
        {name: value.get_secret_value() for name, value in secret.items() if value is not None},
    )


def ask(*command: str, given: str = "", hint: str, seconds: float = _SECONDS) -> str:
    """What a platform's own command says.

    Raises
    ------
    KitError
        It is not installed, fails, or does not answer in time.
    """
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds)  # noqa: S603  # fixed words
    except FileNotFoundError:
        raise KitError(f"there is no {command[0]} command", f"Install {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise KitError(f"{' '.join(command[:2])} does not answer within {seconds:.0f} s", hint) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it gives no reason"]
        raise KitError(f"{' '.join(command[:2])} fails: {said[-1].strip()}", hint)
    return done.stdout


def require_image(image: str) -> None:
    """The image is on this machine or in its registry, as far as Docker can tell."""
    try:
        ask("docker", "image", "inspect", image, hint="")
    except KitError as here:
        if here.what.startswith("there is no docker"):
            return  # the platform itself will tell
        hint = "Build and push it, or log in to its registry with `docker login`"
        ask("docker", "manifest", "inspect", image, hint=hint)
