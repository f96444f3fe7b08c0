"""Who gives a command, and who approves of it: somebody else, with a name, whom the server may know."""

import getpass
import os
import re
import socket
from dataclasses import dataclass

from starterkit.errors import UserError
from starterkit.release.history import Person
from starterkit.settings import Settings, Stage, is_placeholder
from starterkit.tracking.connection import authenticated_user, takes_password

_NAME = re.compile(r"(?=.*[^\W\d_].*[^\W\d_])[^\W\d_][\w.'’-]*(?: [^\W\d_][\w.'’-]*)*")
_ADDRESS = re.compile(r"[\w.+-]*\w@\w[\w-]*(?:\.[\w-]+)*")
_NOBODY = re.compile(
    "approver|nobody|no ?one|none|(some|any|every)(one|body)|me|myself|self|you|user|(user)?name|yes|ok|"
    "approved?|auto(matic)?|bot|ci|robot|system|root|admin"
)


class Unapproved(UserError):
    """The stage asks for an approver, and nobody approved."""


@dataclass(frozen=True)
class Approval:
    """Who gives the command, and who approves where the stage asks for it."""

    who: Person
    approver: Person | None = None


def who_is_here(settings: Settings) -> Person:
    """The user whose password the server has checked is ``authenticated``, the user of this machine ``claimed``."""
    user = authenticated_user(settings.tracking)
    return Person(user, "authenticated") if user else Person(here())


def approval_by(settings: Settings, approver: str = "") -> Approval:
    """Who is here, and who approves where somebody is named.

    Raises
    ------
    Unapproved
        The stage is prod, and nobody is named, or a name that is none, the one who gives the command, somebody who is
        not in the project's list, or somebody whose password the server does not take.
    """
    who, named = who_is_here(settings), " ".join(approver.split())
    if settings.stage is not Stage.PROD:
        return Approval(who, Person(named) if named else None)
    if not named:
        what = "prod asks for somebody who approves, who is not the one who gives the command"
        raise Unapproved(what, "Name the approver with --approver")
    if any(_is(named, commander) for commander in (who.name, here(), os.environ.get("GITHUB_ACTOR", ""))):
        what = f"'{named}' gives this command, and nobody approves of their own in prod"
        raise Unapproved(what, "Name somebody else with --approver, who has looked at it")
    _require_name(named)
    listed = settings.promotion.approvers
    if listed and named.casefold() not in {one.casefold() for one in listed}:
        raise Unapproved(f"'{named}' may not approve in prod", f"promotion.approvers names {', '.join(listed)}")
    return Approval(who, Person(named, "authenticated") if _is_proven(settings, named) else Person(named))


def _require_name(named: str) -> None:
    if not (_NAME.fullmatch(named) or _ADDRESS.fullmatch(named)) or _is_nobody(named):
        what = f"'{named[:40]}' is no name of an approver"
        raise Unapproved(
            what, "Give a person's name in letters, as Ada or Ada Lovelace, or an address, as ada@company.org"
        )


def _is_nobody(named: str) -> bool:
    return bool(_NOBODY.fullmatch(named.casefold())) or is_placeholder(named)


def _is(named: str, commander: str) -> bool:
    """Whether two words name the same person: ada, Ada, and ada@machine are."""
    one, other = (words.casefold() for words in (named, commander))
    return bool(other) and (one == other or one.partition("@")[0] == other.partition("@")[0])


def _is_proven(settings: Settings, named: str) -> bool:
    """Whether the server has checked the approver's own password.

    Raises
    ------
    Unapproved
        There is one, and the server does not take it.
    """
    password = settings.promotion.approver_password
    if password is None:
        return False
    if takes_password(settings.tracking, named, password.get_secret_value()):
        return True
    hint = "Name them as the server does, or leave promotion.approver_password out: the name counts as claimed then"
    raise Unapproved(f"the server does not take promotion.approver_password as the password of '{named}'", hint)


def here() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
