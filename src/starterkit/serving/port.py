"""Whether the API can listen where the settings say."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from starterkit.errors import SettingsError

_OF_THE_API = "set KIT_SERVING__PORT or KIT_SERVING__HOST"


def require_port(host: str, port: int, otherwise: str = _OF_THE_API) -> None:
    """See that nobody else listens there.

    Parameters
    ----------
    otherwise
        How to name another port, for a refusal.

    Raises
    ------
    SettingsError
        Somebody does, or this machine has no such address.
    """
    with taking_port(host, port, otherwise):
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


@contextmanager
def taking_port(host: str, port: int, otherwise: str = _OF_THE_API) -> Iterator[None]:
    """Tell what goes wrong as `require_port` does: between its look and the listening somebody else may come.

    Raises
    ------
    SettingsError
        The port cannot be had.
    """
    try:
        yield
    except UnicodeError as error:  # from the codec for host names
        raise SettingsError(
            f"'{host}' is no host name", "Name an address of this machine with KIT_SERVING__HOST"
        ) from error
    except OSError as error:
        mend = f"End the program that has it, or {otherwise}"
        raise SettingsError(f"{host} port {port} cannot be had: {error.strerror or error}", mend) from error
