"""Whether the API can listen where the settings say."""

import socket

from starterkit.errors import SettingsError


def require_port(host: str, port: int) -> None:
    """See that nobody else listens there.

    Raises
    ------
    SettingsError
        Somebody does, or this machine has no such address.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        mend = "End the program that has it, or set KIT_SERVING__PORT or KIT_SERVING__HOST"
        raise SettingsError(f"{host} port {port} cannot be had: {error.strerror or error}", mend) from error
