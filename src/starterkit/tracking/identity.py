"""Who a server takes us for."""

from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from starterkit.settings import TrackingSettings

_SECONDS = 5
_ANYTHING = "/api/2.0/mlflow/experiments/search?max_results=1"
_REFUSED = 401


def authenticated_user(settings: TrackingSettings) -> str:
    """The user whose password the server has checked; empty where it asks nobody for one.

    To be asked after `connect`, which has shown that the password is right. A server that also answers without one
    has checked nothing.
    """
    if not (settings.username and settings.password and settings.uri.startswith("http")):
        return ""
    parts = urlsplit(settings.uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/")).geturl()
    try:
        urlopen(f"{address}{_ANYTHING}", timeout=_SECONDS).close()  # noqa: S310  # settings allow http(s) alone
    except HTTPError as error:
        return settings.username if error.code == _REFUSED else ""
    except OSError:
        return ""
    return ""
