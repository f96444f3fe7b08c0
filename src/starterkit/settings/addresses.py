"""Passwords inside addresses: found, so that YAML cannot hold one, and masked, so that none is shown."""

import re

# Up to the last `@`, because a password may hold one that nobody escaped.
_USER_AND_PASSWORD = re.compile(r"(://[^:/@\s]*:)(.+)(@)")
_PARAMETER = re.compile(r"([?&;](?:password|passwd|pwd|token)=)([^&;]+)", re.IGNORECASE)


def has_password(text: str) -> bool:
    """Tell whether an address carries a password: `://user:password@host` or `?password=…`."""
    return bool(_USER_AND_PASSWORD.search(text) or _PARAMETER.search(text))


def mask(text: str) -> str:
    """Replace the passwords in an address."""
    return _PARAMETER.sub(r"\1***", _USER_AND_PASSWORD.sub(r"\1***\3", text))
