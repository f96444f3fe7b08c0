"""What the kit raises: one line that names the thing and where it was found, and one that says what to do."""


class KitError(Exception):
    """A failure that the kit foresaw. The command line shows it as one line, without a traceback.

    Parameters
    ----------
    what
        The thing that is wrong and where it was found. Never a secret or a sensitive value.
    mend
        What to do about it, as an imperative sentence.
    """

    exit_code = 1

    def __init__(self, what: str, mend: str = "") -> None:
        self.what = what.rstrip(".")
        self.mend = mend.rstrip(".")
        super().__init__(f"{self.what}. {self.mend}." if mend else f"{self.what}.")


class UserError(KitError):
    """A mistake that the user can mend: a setting, a file, an argument."""

    exit_code = 2


class SettingsError(UserError):
    """A stage's settings say something that they may not."""


class ProblemError(UserError):
    """The user's `Problem` contradicts itself or its settings."""


class DataError(UserError):
    """The data cannot be read, or is not what the schema says."""


class ExportError(KitError):
    """An estimator cannot be exported, or its graph does not answer as it does."""


class ContractError(KitError):
    """An exported folder is incomplete, altered, or of a version this kit does not read."""


class TrackingError(KitError):
    """The MLflow server or store cannot be reached, or lacks what was asked for."""


class Refused(KitError):
    """The gate refused a version, or the stage refuses the work."""
