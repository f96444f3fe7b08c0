"""The sections of the settings, one model each. A field's description is what VS Code shows in the YAML files."""

import codecs
import math
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    SecretStr,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from starterkit.contract import Beyond
from starterkit.errors import SettingsError, meant
from starterkit.machine import this_machine

# --- The five stages, and which of them this process runs in.


class Stage(StrEnum):
    """Where the code runs, from a workstation to the live API.

    The code moves up from `local` to `staging`; from `staging` to `prod` it is the model that moves.
    This has nothing to do with MLflow's retired model stages.
    """

    LOCAL = "local"
    DEV = "dev"
    TEST = "test"
    STAGING = "staging"
    PROD = "prod"


def read_stage(environ: Mapping[str, str]) -> Stage:
    """Read the stage from `KIT_STAGE`. Unset means `local`; anything but one of the five names is refused."""
    name = environ.get("KIT_STAGE", Stage.LOCAL)
    if name in list(Stage):
        return Stage(name)
    what = f"KIT_STAGE: this is not a stage{meant(name.strip().lower(), Stage)}"
    raise SettingsError(what, f"Set it to one of {', '.join(Stage)}, or unset it for local")


# --- The sections.


def _refuse_collections(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("should be a number, a text, true, false or null")


def _refuse_what_is_no_key(value: str) -> str:
    with suppress(ValueError):
        if len(b64decode(value, validate=True)) == _KEY_BYTES:
            return value
    raise ValueError("should be a public key as `starterkit keys` prints it: 44 characters of base64")


_KEY_BYTES = 32

# What the JSON schema skips, YAML may not say: `layers.read_yaml` goes by this mark.
NotInYaml = SkipJsonSchema()  # pyrefly: ignore[not-callable]
Secret = Annotated[SecretStr | None, NotInYaml]
Parameter = Annotated[bool | int | float | str | None, BeforeValidator(_refuse_collections)]

PublicKey = Annotated[str, AfterValidator(_refuse_what_is_no_key)]


class Section(BaseModel):
    """What all sections share: no unknown keys, no changes after loading, no values in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        # pydantic would read `port: yes` as 1.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("should not be true or false")
        return value


class DialectSettings(Section):
    """How a text file writes its table. What is left out is found out from its first lines."""

    delimiter: Literal[",", ";", "\t", "|"] | None = Field(None, description="The sign between its columns")
    encoding: str | None = Field(None, description="Its encoding, such as utf-8, utf-16 or cp1252")
    quote: Literal['"', "'"] | None = Field(None, description="The sign around a field that needs it")

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            return value and codecs.lookup(value).name.removesuffix("-sig")
        except LookupError:
            raise ValueError("should be an encoding that Python knows, such as utf-8 or cp1252") from None


class DataSettings(Section):
    """Where the training data is."""

    source: str = Field(
        pattern=r"^[^:]+\.([cC][sS][vV]|[tT][sS][vV]|[pP][aA][rR][qQ][uU][eE][tT])(\.[gG][zZ])?$|^[^:]+/$"
        r"|^[a-z][a-z0-9]*(\+[a-z0-9_]+)?://.+$",
        description="A .csv, .tsv, .csv.gz or .parquet file relative to the repository, a folder of Parquet files "
        "that ends in /, or a database address such as sqlite:///warehouse.db or "
        "postgresql+psycopg2://user@host/name",
    )
    dialect: DialectSettings = Field(
        DialectSettings(), description="How a .csv file writes its table, where that is not to be found out from it"
    )
    query: str | None = Field(None, min_length=1, description="The SELECT to run; for a database address only")
    password: Secret = Field(None, min_length=1, description="The password for the user in the database address")

    @property
    def is_database(self) -> bool:
        """Whether `source` is a database address and not a file."""
        return "://" in self.source

    @model_validator(mode="after")
    def _query_belongs_to_a_database(self) -> Self:
        if self.is_database and self.query is None:
            raise ValueError("needs a query, because its source is a database address")
        if self.query is not None and not self.is_database:
            raise ValueError("may not have a query, because its source is a file")
        return self


class TrackingSettings(Section):
    """Where runs and models are kept."""

    uri: str = Field(
        pattern=r"^sqlite:///.+$|^https?://.+$",
        description="The MLflow server as http:// or https://, or in local a file such as sqlite:///mlflow.db",
    )
    username: str | None = Field(None, min_length=1, description="The user name, for a server with basic auth")
    password: Secret = Field(None, min_length=1, description="The password, for a server with basic auth")
    token: Secret = Field(None, min_length=1, description="The bearer token, for a server behind a gateway")


class TrainingSettings(Section):
    """How the problem's estimator is fitted."""

    seed: int = Field(0, ge=0, le=2**32 - 1, description="The seed of everything random")
    params: dict[str, Parameter] = Field(
        default_factory=dict, description="Keyword arguments for the problem's estimator"
    )


class ExportSettings(Section):
    """How closely the exported graph has to agree with the estimator."""

    parity_rows: int = Field(
        100_000,
        ge=100,
        description="Drawn rows on which the two are compared; up to a hundredth of as many of the data's are also "
        "asked one by one",
    )
    tolerance: FiniteFloat = Field(
        1e-5,
        gt=0,
        le=1,
        description="Largest difference of a regression, relative to the value or the target's standard deviation, "
        "whichever is larger",
    )
    probability_tolerance: FiniteFloat = Field(
        1e-6, gt=0, le=1, description="Largest absolute difference of a probability"
    )
    reach: FiniteFloat = Field(
        10,
        ge=0,
        le=1e6,
        description="How far beyond the values seen the proof goes where the schema has no bound, as a multiple of "
        "their range",
    )
    unstable: FiniteFloat = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest share of the data's rows that the estimator may answer otherwise when asked one by one",
    )


class Limit(Section):
    """The range in which a metric has to be: `min`, `max` or both."""

    min: FiniteFloat | None = Field(None, description="Smallest value that passes")
    max: FiniteFloat | None = Field(None, description="Largest value that passes")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("has a min above its max")
        return self


class GateSettings(Section):
    """What a version has to reach before it may serve."""

    limits: dict[str, Limit] = Field(default_factory=dict, description="The range that each metric has to be in")
    checks: dict[str, StrictBool] = Field(
        default_factory=dict,
        description="Checks that are not asked in this stage: a check's name and false. staging and prod ask most of "
        "them whatever stands here",
    )
    tolerance: FiniteFloat = Field(
        0.02,
        ge=0,
        le=1,
        description="How much worse than the champion's the deciding metric may be, as a fraction of the champion's "
        "loss: of the figure itself, or of 1 minus accuracy, roc_auc or r2",
    )
    min_rows: int = Field(
        50, ge=10, description="Fewest independent holdout rows, or groups, from which anything is concluded"
    )
    undecided: Literal["pass", "refuse"] = Field(
        "refuse", description="What becomes of a version when the holdout has not enough rows to tell"
    )
    undecided_slices: Literal["pass", "refuse"] = Field(
        "pass", description="What becomes of a version when a slice of the holdout has not enough rows to tell"
    )
    leak_limit: FiniteFloat = Field(
        0.985, gt=0, le=1, description="Largest share of the naive guess's loss that one feature may remove alone"
    )
    heavier: FiniteFloat = Field(
        3, ge=1, description="How many times the champion's latency, and its size, a version may have"
    )
    latency_floor_ms: FiniteFloat = Field(2, ge=0, description="Milliseconds that a call may take in any case")
    size_floor_mb: FiniteFloat = Field(5, ge=0, description="Megabytes that a graph may have in any case")


class ServingSettings(Section):
    """How the API answers."""

    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on; 0.0.0.0 in a container")
    port: int = Field(8000, ge=1, le=65535, description="The port to listen on")
    beyond: Beyond = Field(
        "refuse",
        description="What becomes of a row with a number beyond the range in which the model was proven: refuse, or "
        "answer and mark it",
    )
    max_rows: int = Field(1000, ge=1, description="Most rows in one request")
    max_body_bytes: int = Field(5_000_000, ge=1, description="Most bytes in one request's body")
    raw_records: bool = Field(False, description="Whether records may be as in the file that trained the model")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer, each with its own copy of the model")
    threads: int = Field(1, ge=1, description="Threads of one process's ONNX session")
    providers: tuple[Literal["cpu", "cuda"], ...] = Field(
        ("cpu",), min_length=1, description="Where the graph runs, in the order of preference: cpu, cuda"
    )
    provider_fallback: bool = Field(False, description="Whether a provider that is not there is passed over")
    memory_mb: int | None = Field(
        None,
        ge=256,
        description="Most megabytes of data that one process may have, held on Linux alone; left out, 512 more than "
        "it has with its model",
    )
    max_connections: int = Field(512, ge=1, le=65535, description="Most connections of one process at once")
    seconds_to_ask: FiniteFloat = Field(
        10, gt=0, le=600, description="Seconds in which a client has to send a whole request, or to take its answer"
    )
    api_key: Secret = Field(None, min_length=16, description="The key that clients send")
    api_keys_file: str | None = Field(None, min_length=1, description="A file of keys that `starterkit api-key` made")
    log_format: Literal["text", "json"] = Field("text", description="How the API's log is written: a line each")
    log_requests: bool = Field(False, description="Whether each request is a line there; quicker without")
    follow_seconds: FiniteFloat = Field(
        10, ge=0, description="Seconds between looks at which version is the champion; 0: at the start alone"
    )
    shadow: Annotated[int, Field(ge=1)] | Literal["challenger"] | None = Field(
        None,
        description="A version's number, or challenger for the alias: it is scored on the same requests, kept in the "
        "log and never answered",
    )
    webhook_secret: Secret = Field(
        None, min_length=16, description="With which MLflow signs the webhook that tells of a new champion at once"
    )
    copy_folder: str = Field("build/champion", min_length=1, description="Where the API keeps a copy of its champion")
    require_api_key: bool = Field(False, description="Whether clients have to send the key; always true in prod")

    @property
    def processes(self) -> int:
        """Workers that are started: no more than there are cores, for two on one do a fifth less than one would."""
        return min(self.workers, math.ceil(this_machine().cores))


class LoadSettings(Section):
    """How `starterkit loadtest` drives the API, and what it has to hold."""

    connections: int = Field(4, ge=1, le=256, description="Clients at once, each of which waits for its answer")
    seconds: FiniteFloat = Field(10, gt=0, le=600, description="How long, after a warm-up")
    max_errors: int = Field(0, ge=0, description="Most requests that may fail")
    max_p95_ms: FiniteFloat | None = Field(None, gt=0, description="Most milliseconds in which 95% are answered")
    min_throughput: FiniteFloat | None = Field(None, gt=0, description="Fewest requests a second")
    max_cores: FiniteFloat | None = Field(None, gt=0, description="Most cores that the API may keep busy")
    max_memory_mb: FiniteFloat | None = Field(None, gt=0, description="Most resident megabytes of all its processes")


class PromotionSettings(Section):
    """How versions are moved, and how long they are kept."""

    lock_minutes: int = Field(
        10, ge=1, le=1440, description="Minutes after which a promotion that does not end may be taken over"
    )
    keep_days: int = Field(
        90, ge=0, description="Days for which `starterkit prune` keeps a version, from when it last served or was made"
    )
    signing_key: Secret = Field(
        None, min_length=1, description="The Ed25519 key that signs bundles: PEM, or the base64 of its 32 bytes"
    )
    version_key: Secret = Field(
        None,
        min_length=32,
        description="The key that signs what the gate passed, wherever versions are promoted or served: where it is "
        "set, a version without its signature is none",
    )
    trusted_keys: tuple[PublicKey, ...] = Field(
        (), description="The public keys whose bundles prod takes, as `starterkit keys` prints them; none: no bundle"
    )
    approvers: tuple[str, ...] = Field(
        (), description="Who may approve in prod, by name or address; none: whoever does not give the command"
    )
    approver_password: Secret = Field(
        None, min_length=1, description="The approver's password on MLflow's server, which then says that it is them"
    )
