"""What a stage refuses, whatever YAML and environment say."""

from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from starterkit.errors import SettingsError
from starterkit.settings.addresses import has_password
from starterkit.settings.merge import leaves
from starterkit.settings.model import Key, Settings
from starterkit.settings.privacy_section import weaker
from starterkit.settings.stage import Stage

SWITCHABLE_CHECKS = ("baseline", "latency", "size", "robustness")
"""All that staging and prod may leave out; the rest of the gate is what makes them gatekeepers."""
_PLACEHOLDERS = ("change-me", "changeme", "change_me", "placeholder")


def check_floors(settings: Settings, origins: Mapping[Key, str]) -> tuple[list[SettingsError], tuple[str, ...]]:
    """Hold the settings against what their stage must not do.

    Debug, placeholder secrets and local stores are allowed in `local`, warned of in `dev`, and refused elsewhere.
    The API key cannot be turned off in `prod`, nor a core check of the gate in `staging` and `prod`. What hides less of
    people's data than the stage has to is refused everywhere.

    Returns
    -------
    refusals
        What stops the stage.
    warnings
        What a developer should know.
    """
    stage = settings.stage
    findings = [
        SettingsError(f"{origins.get(key, 'default')}: {'.'.join(key)} {what}, which {stage} does not allow", mend)
        for key, what, mend in _loose_ends(settings)
    ]
    seen = list(weaker(stage, settings.privacy, origins))
    if stage is Stage.LOCAL:
        return seen, ()
    if stage is Stage.DEV:
        return seen, tuple(str(finding) for finding in findings)
    if stage in (Stage.STAGING, Stage.PROD):
        findings += _missing_checks(settings, origins)
    if stage is Stage.PROD and not settings.serving.require_api_key:
        origin = origins.get(("serving", "require_api_key"), "default")
        what = f"{origin}: serving.require_api_key is false, which prod does not allow"
        findings.append(SettingsError(what, "Set it to true in config/prod.yaml"))
    return [*findings, *seen], ()


def _missing_checks(settings: Settings, origins: Mapping[Key, str]) -> Iterator[SettingsError]:
    """Core checks, and those of the project, that are switched off."""
    for name, asked in settings.gate.checks.items():
        if not asked and name not in SWITCHABLE_CHECKS:
            origin = origins.get(("gate", "checks", name), "default")
            what = f"{origin}: gate.checks.{name} is false, which {settings.stage} does not allow"
            yield SettingsError(what, f"Remove it; {settings.stage} may leave out {', '.join(SWITCHABLE_CHECKS)}")


def _loose_ends(settings: Settings) -> Iterator[tuple[Key, str, str]]:
    if settings.debug:
        yield ("debug",), "is true", "Set it to false"
    if not settings.tracking.uri.startswith("http"):
        yield ("tracking", "uri"), "is a local store", "Set it to an MLflow server's http:// or https:// address"
    for key, value in leaves(settings.model_dump()):
        if _is_placeholder(value):
            yield key, "holds a placeholder secret", "Set a secret of your own"


def _is_placeholder(value: object) -> bool:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or (text is value and not has_password(text)):
        return False
    return any(word in text.lower() for word in _PLACEHOLDERS)
