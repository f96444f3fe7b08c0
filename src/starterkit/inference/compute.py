"""What a session may use, and what it gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starterkit.errors import SettingsError

_NAMES: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_MEND = "Install onnxruntime-gpu and its driver, set serving.providers to [cpu], or allow serving.provider_fallback"


@dataclass(frozen=True)
class Compute:
    """Threads of one call, and execution providers in the order of preference: `cpu`, `cuda`.

    Where a provider that is asked for is not there, `fallback` takes the next one, and the CPU in the end.
    """

    threads: int = 1
    providers: Sequence[str] = ("cpu",)
    fallback: bool = False

    def choose(self, available: Sequence[str]) -> list[str]:
        """onnxruntime's names of those that are there.

        Raises
        ------
        SettingsError
            One is not, and no fall-back is allowed.
        """
        wanted = [_NAMES[name] for name in self.providers]
        missing = [name for name in self.providers if _NAMES[name] not in available]
        if missing and not self.fallback:
            raise refusal(missing[0], available)
        return [name for name in wanted if name in available] or [_NAMES["cpu"]]

    def require(self, got: Sequence[str]) -> None:
        """See that a session has what it was given: onnxruntime falls back without a word where a driver is missing.

        Raises
        ------
        SettingsError
            It has not, and no fall-back is allowed.
        """
        missing = [name for name in self.providers if _NAMES[name] not in got]
        if missing and not self.fallback:
            raise refusal(missing[0], got)


def refusal(name: str, there: Sequence[str]) -> SettingsError:
    return SettingsError(f"execution provider '{name}' is not there, only {', '.join(short(there))}", _MEND)


def short(names: Sequence[str]) -> list[str]:
    """onnxruntime's names as the settings have them; those that the settings do not know stay out."""
    known = {long: name for name, long in _NAMES.items()}
    return [known[name] for name in names if name in known]
