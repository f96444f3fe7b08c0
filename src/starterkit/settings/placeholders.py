"""Texts that stand for a value that nobody has given yet: ``<your key>``, ``changeme``, ``xxxxxxxx``, blanks."""

import re
from urllib.parse import urlsplit

_BRACKETED = re.compile(r"<[^<>]*>|\{\{.*\}\}|\$\{.*\}|\[[a-z _-]+\]", re.IGNORECASE)
_TOLD_TO_CHANGE = re.compile(
    r"change(it|me|this)|replace(it|me|this)|placeholder|dummy|yoursecret|your[a-z]*(key|password|token)"
)
_REPEATED = re.compile(r"(.{1,16}?)[\W_]*(?:\1[\W_]*)+")
_NO_SECRET = re.compile(
    r"a|an|the|my|your|our|this|is|it|here|put|insert|enter|some|any|test|example|sample|demo|default|secret|passw(or)?d|"
    r"pass|pwd|key|api|token|admin|root|user|name|value|string|none|null|please|foo|bar|baz|qwerty|letmein|welcome|hello|"
    r"world|todo|tbd|fixme"
)
_DOCUMENTATION = (".example", ".invalid", ".test", "example.com", "example.org", "example.net")
_OF_A_HOST = frozenset({"hostname", "server", "your-server", "yourserver", "mlflow-server", "address", "domain"})


def is_placeholder(text: str) -> bool:
    """Whether a text stands for a value that is still to be given. What machines make is none by any chance."""
    plain = text.strip().lower()
    letters = re.sub(r"[\W_]", "", plain)
    words = re.findall(r"[a-z]+", plain)
    return bool(
        not letters
        or _BRACKETED.search(plain)
        or _TOLD_TO_CHANGE.search(letters)
        or _REPEATED.fullmatch(plain)
        or (words and all(map(_NO_SECRET.fullmatch, words)) and len(re.sub(r"[^0-9]", "", plain)) <= _FEW_DIGITS)
        or letters in _RUNS
    )


_FEW_DIGITS = 4
_RUNS = frozenset(
    run[:length] for run in ("12345678901234567890", "abcdefghijklmnopqrstuvwxyz") for length in range(3, 27)
)


def is_placeholder_host(address: str) -> bool:
    """Whether an address names nobody's server: ``http://<host>``, ``https://mlflow.example.com``."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return True
    return bool(_BRACKETED.search(address) or host in _OF_A_HOST or host.endswith(_DOCUMENTATION) or not host)


def is_this_machine(address: str) -> bool:
    """Whether an address names the machine that asks."""
    try:
        return urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False
