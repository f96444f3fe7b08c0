"""Who gives a command, and who approves of it."""

import getpass
import os
import socket
from dataclasses import dataclass

from starterkit.errors import UserError
from starterkit.registry import Person
from starterkit.settings import Settings, Stage
from starterkit.tracking import authenticated_user


class Unapproved(UserError):
    """The stage asks for an approver, and nobody approved."""


@dataclass(frozen=True)
class People:
    """Who gives the command, and who approves where the stage asks for it."""

    who: Person
    approver: Person | None = None


def who_is_here(settings: Settings) -> Person:
    """The user whose password the server has checked is ``authenticated``, the user of this machine ``claimed``."""
    user = authenticated_user(settings.tracking)
    return Person(user, "authenticated") if user else Person(here())


def people_behind(settings: Settings, approver: str = "") -> People:
    """Who is here and who approves: the authenticated user, or an approver who is only named.

    Raises
    ------
    Unapproved
        The stage is prod, the server asks nobody for a password, and no approver is named.
    """
    who, named = who_is_here(settings), " ".join(approver.split())
    if who.how == "authenticated" and named in ("", who.name):
        return People(who, who)
    if named or settings.stage is not Stage.PROD:
        return People(who, Person(named) if named else None)
    what = "prod asks for somebody who approves, and the server does not say who you are"
    raise Unapproved(what, "Name the approver with --approver, or use a server with users")


def here() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
