"""Everything that the settings refuse, and that each message names the place, the key and never a secret."""

import re
from base64 import b64encode
from pathlib import Path

import pytest

from starterkit.errors import SettingsError
from starterkit.settings import Stage, weakening

SECRET = "hunter2-hunter2-hunter2"


def refusal(repository, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        repository.read(**environ)
    message = str(caught.value)
    assert [one for one in (str(repository.root), SECRET, "None") if one in message] == []
    assert SECRET not in str(caught.value.__context__)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # Keys that are no settings.
        ("servng: {port: 1}", ["servng is not a setting", "did you mean serving?", "allowed are debug, data"]),
        ("serving: {prt: 1}", ["serving.prt is not a setting", "did you mean serving.port?", "max_rows"]),
        ("gate: {limits: {rmse: {maxx: 1}}}", ["gate.limits.rmse.maxx", "did you mean gate.limits.rmse.max?"]),
        # What YAML may not say.
        ("stage: dev", ["stage may not be set in YAML", "set KIT_STAGE."]),
        ("root: /", ["root may not be set in YAML. Remove it."]),
        ("root: {a: b}", ["root.a may not be set in YAML"]),
        (f"serving: {{api_key: {SECRET}}}", ["serving.api_key may not be set in YAML", "secrets/KIT_SERVING__API_KEY"]),
        (f"serving: {{api_key: {{a: {SECRET}}}}}", ["serving.api_key.a may not be", "secrets/KIT_SERVING__API_KEY"]),
        ("data: {password: null}", ["data.password may not be set in YAML", "KIT_DATA__PASSWORD"]),
        (f"tracking: {{uri: 'http://me:{SECRET}@host'}}", ["tracking.uri holds a password", "environment variable"]),
        (f"data: {{source: 'db://host/x?password={SECRET}', query: q}}", ["data.source holds a password"]),
        # Wrong types and values out of bounds.
        ("serving: {port: abc}", ["serving.port should be a valid integer."]),
        ("serving: {port: yes}", ["serving.port should not be true or false"]),
        ("serving: {port: 65536}", ["serving.port should be less than or equal to 65535"]),
        ("serving:", ["serving should hold keys and values"]),
        ("serving: 8000", ["serving should hold keys and values"]),
        ("training: {params: [1]}", ["training.params should hold keys and values"]),
        ("training: {params: {depth: [1]}}", ["training.params.depth should be a number, a text, true, false or null"]),
        ("training: {params: {day: 2024-01-01}}", ["training.params.day should be a number"]),
        ("training: {seed: -1}", ["training.seed should be greater than or equal to 0"]),
        ("debug: perhaps", ["debug should be a valid boolean."]),
        ("gate: {limits: {rmse: {max: .nan}}}", ["gate.limits.rmse.max should be a finite number"]),
        ("gate: {limits: {rmse: {max: .inf}}}", ["gate.limits.rmse.max should be a finite number"]),
        ("gate: {tolerance: .nan}", ["gate.tolerance should be a finite number"]),
        ("gate: {tolerance: 1.5}", ["gate.tolerance should be less than or equal to 1"]),
        ("export: {tolerance: .inf}", ["export.tolerance should be a finite number"]),
        ("gate: {limits: {rmse: {}}}", ["gate.limits.rmse needs min, max or both"]),
        ("gate: {limits: {rmse: {min: 2, max: 1}}}", ["gate.limits.rmse has a min above its max"]),
        ("data: {source: a.txt}", ["data.source should be: A .csv"]),
        ("data: {source: 'sqlite:///a.db'}", ["data needs a query"]),
        ("data: {query: SELECT 1}", ["data may not have a query"]),
        ("tracking: {uri: ./mlruns}", ["tracking.uri should be: The MLflow server"]),
        # Lists.
        ("serving: {providers: cpu}", ["config/dev.yaml: serving.providers should be a list"]),
        ("serving: {providers: [cpu, tpu]}", ["config/dev.yaml: serving.providers.1 should be 'cpu' or 'cuda'"]),
        ("serving: {providers: []}", ["serving.providers should not be empty"]),
        ("serving: {host: ''}", ["serving.host should not be empty"]),
        ("promotion: {trusted_keys: [abc]}", ["config/dev.yaml: promotion.trusted_keys.0 should be a public key"]),
        ("promotion: {trusted_keys: [AAAA]}", ["promotion.trusted_keys.0 should be a public key"]),
        # Words of privacy that are none.
        ("privacy: {sensitive: hash}", ["privacy.sensitive"]),
        ("privacy: {identifiers: raw}", ["privacy.identifiers"]),
        ("privacy: {columns: {age: mock}}", ["privacy.columns.age"]),
        # Files that are no settings at all.
        ("serving:\n  port: 1\n  port: 2", ["line 3, column 3: the key port is given twice"]),
        ("debug: true\ndebug: false", ["line 2, column 1: the key debug is given twice"]),
        ("training: {params: {1: 2}}", ["line 1, column 21: a key should be text"]),
        ("training: &it {params: *it}", ["line 1, column 24: an alias is not allowed"]),
        ("serving: {port: 1", ["line 1, column 18", "Correct the YAML"]),
        ("a: 1\n---\nb: 2", ["line 2, column 1"]),
        ("debug: \x07", ["config/dev.yaml: holds something that YAML does not allow"]),
        ("training: {params: {day: 2024-02-31}}", ["holds something that YAML does not allow"]),
        ("- serving", ["should hold keys and values at its top. Write it like config/base.yaml"]),
        ("serving", ["should hold keys and values at its top"]),
        (b"debug: \xff", ["is not UTF-8", "Save it as UTF-8"]),
    ],
)
def test_yaml_is_refused_by_file_and_key(repository, text, named):
    repository.write("config/dev.yaml", text)
    message = refusal(repository, KIT_STAGE="dev", KIT_TRACKING__TOKEN=SECRET)
    assert "config/dev.yaml" in message
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("KIT_SERVNG__PORT", "1", ["did you mean KIT_SERVING__PORT?"]),
        ("KIT_SERVING__PRT", "1", ["did you mean KIT_SERVING__PORT?", "KIT_SERVING__MAX_ROWS"]),
        ("KIT_SERVING_PORT", "1", ["did you mean KIT_SERVING__PORT?"]),
        ("KIT_SERVING__PORT__X", "1", ["no setting has this name", "allowed are KIT_SERVING__"]),
        ("KIT_SERVING", '{"port": 1}', ["no setting has this name"]),
        ("KIT_FOO", SECRET, ["no setting has this name", "KIT_DEBUG, KIT_DATA__"]),
        ("KIT_ROOT", "/", ["no setting has this name"]),
        ("kit_serving__port", "1", ["did you mean KIT_SERVING__PORT?"]),
        ("KIT_SERVING__PORT", SECRET, ["serving.port should be a valid integer"]),
        ("KIT_SERVING__PORT", "", ["serving.port should be a valid integer"]),
        ("KIT_SERVING__API_KEY", "hunter2", ["serving.api_key should have at least 16 characters"]),
        ("KIT_TRACKING__TOKEN", "", ["tracking.token should not be empty"]),
        ("KIT_PRIVACY__KEY", "hunter2", ["privacy.key should have at least 32 characters"]),
        ("KIT_TRACKING__URI", f"ftp://me:{SECRET}@host", ["tracking.uri should be: The MLflow server"]),
        ("KIT_GATE__LIMITS", "{", ["gate.limits should be a JSON object", "The range that each metric has to be in"]),
        ("KIT_SERVING__PROVIDERS", "cpu", ["serving.providers should be a JSON list"]),
        ("KIT_SERVING__PROVIDERS", '["tpu"]', ["SERVING__PROVIDERS: serving.providers.0 should be 'cpu' or 'cuda'"]),
        ("KIT_GATE__LIMITS", "[1]", ["gate.limits should hold keys and values"]),
        ("KIT_GATE__LIMITS", '{"r2": {"min": 1}, "r2": {}}', ["gate.limits should be a JSON object without dupl"]),
        ("KIT_GATE__LIMITS", '{"r2": {"mni": 1}}', ["gate.limits.r2.mni", "did you mean gate.limits.r2.min?"]),
        ("KIT_GATE__LIMITS", '{"r2": {"min": NaN}}', ["gate.limits.r2.min should be a finite number"]),
        ("KIT_TRAINING__PARAMS", '{"depth": [1]}', ["training.params.depth should be a number"]),
    ],
)
@pytest.mark.parametrize("origin", ["environment", "secret file"])
def test_a_variable_is_refused_by_name_and_key(repository, name, text, named, origin):
    if origin == "environment":
        message = refusal(repository, **{name: text})
    else:
        repository.write(f"secrets/{name}", text)
        message = refusal(repository)
        assert f"secrets/{name}" in message
    assert name in message
    assert "hunter2" not in message
    for part in named:
        assert part in message


def test_what_two_layers_say_together_is_refused(repository):
    repository.write("config/base.yaml", "data: {source: a.csv}\nserving: {port: 1}\n")
    repository.write("config/dev.yaml", "tracking: {uri: 'http://host'}\nserving: 8000\n")
    assert refusal(repository, KIT_STAGE="dev").startswith("config/dev.yaml: serving should hold keys and values")
    repository.write("config/dev.yaml", "serving: {providers: [tpu]}\ntracking: {uri: 'http://mlflow:5000'}")
    message = refusal(repository, KIT_STAGE="dev", KIT_SERVING__PORT="1")  # a list comes from its own place
    assert "config/dev.yaml: serving.providers.0" in message
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\nserving: {{api_key: {SECRET}}}")
    message = refusal(repository, KIT_SERVING__API_KEY="another-long-secret")  # overrides it, too late
    assert "config/base.yaml: serving.api_key may not be set in YAML" in message
    repository.write("config/base.yaml", "data: {source: a.csv}\ngate: {limits: {r2: {min: 0.3}}}")
    message = refusal(repository, KIT_GATE__LIMITS='{"r2": {"max": 0.1}}')
    assert "KIT_GATE__LIMITS: gate.limits.r2 has a min above its max" in message


@pytest.mark.parametrize("name", ["", "Prod", "production", "local ", "Stage.DEV", "PROD"])
def test_an_unknown_stage_is_refused_with_the_five_names(repository, name):
    message = refusal(repository, KIT_STAGE=name)
    assert "one of local, dev, test, staging, prod" in message
    assert ("did you mean prod?" in message) == (name.lower() == "prod")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config/base.yaml", None, "config/base.yaml is missing. Bring it back"),
        ("config/local.yaml", None, "config/local.yaml is missing"),
        ("config/local.yaml", Path.mkdir, "config/local.yaml cannot be read: Is a directory. Make it a file"),
        ("config/base.yaml", "", "config/local.yaml: data.source is missing. Add it there, or to config/base.yaml"),
        ("config/base.yaml", "- data", "at its top. Begin it with `data:`"),
        ("config/local.yaml", "", "config/local.yaml: tracking.uri is missing"),
        ("secrets/KIT_SERVING__API_KEY", b"\xff", "secrets/KIT_SERVING__API_KEY cannot be read. Make it a UTF-8 file"),
        ("secrets/KIT_SERVING__API_KEY", Path.mkdir, "secrets/KIT_SERVING__API_KEY cannot be read"),
        ("secrets/KIT_STAGE", "prod", "secrets/KIT_STAGE: no setting has this name. Remove or rename it; allowed are"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(repository, name, content, said):
    path = repository.root / name
    if content is None or content is Path.mkdir:
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
    content(path) if content is Path.mkdir else content is None or repository.write(name, content)
    assert said in refusal(repository)


def test_a_hint_names_what_is_near_and_no_more(repository):
    assert "did you mean" not in refusal(repository, KIT_SERVING__ZZZZ="1")
    of_the_sections = refusal(repository, KIT_FOO="1", KIT_DEBUG="false")
    assert of_the_sections.count("KIT_SERVING__…") == 1
    assert "KIT_SERVING__PORT" not in of_the_sections
    of_one = refusal(repository, kit_serving__prt="1")
    assert "KIT_SERVING__PORT" in of_one
    assert "KIT_DATA__SOURCE" not in of_one
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nzzzz: 1")
    assert refusal(repository).startswith("config/local.yaml: zzzz is not a setting. ")
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nstage: dev")
    assert "secrets/" not in refusal(repository)


def test_a_folder_of_secrets_that_cannot_be_read_is_refused(repository, monkeypatch):
    def refuse(_: Path) -> None:
        raise PermissionError

    repository.write("secrets/KIT_SERVING__API_KEY", SECRET)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert refusal(repository) == "secrets cannot be read. Make it a folder that you may read."


def test_what_is_not_the_kits_among_the_secrets_is_let_be(repository, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("vault") / "key"
    elsewhere.write_text(SECRET)
    repository.write("secrets/other.der", b"\xff")
    (repository.root / "secrets" / "KIT_SERVING__API_KEY").symlink_to(elsewhere)
    assert repository.read().settings.serving.api_key.get_secret_value() == SECRET


def test_all_problems_are_listed_at_once_in_a_line_each(repository):
    repository.write("config/base.yaml", "serving: {port: 0}\nstage: dev\nservice: {}")
    said = refusal(repository, KIT_SERVING__MAX_ROWS="none", KIT_FOO="1")
    summary, *lines = said.splitlines()
    assert said.count(".\n- ") == 5  # each ends as a sentence
    assert "6 problems" in summary
    for part in ["serving.port", "stage", "service", "data.source", "KIT_SERVING__MAX_ROWS", "KIT_FOO"]:
        assert len([line for line in lines if f": {part} " in line or line.startswith(f"- {part}:")]) == 1
    assert len(lines) == 6


def test_a_public_key_is_taken(repository):
    key = b64encode(bytes(32)).decode()
    assert repository.read(KIT_PROMOTION__TRUSTED_KEYS=f'["{key}"]').settings.promotion.trusted_keys == (key,)


LOOSE_ENDS = [
    ({"KIT_DEBUG": "true"}, "KIT_DEBUG: debug is true"),
    ({"KIT_TRACKING__URI": "sqlite:///a.db"}, "KIT_TRACKING__URI: tracking.uri is a local store"),
    ({"KIT_SERVING__API_KEY": "Change-Me-Please"}, "KIT_SERVING__API_KEY: serving.api_key holds a placeholder secret"),
    ({"KIT_TRACKING__PASSWORD": "changeme"}, "KIT_TRACKING__PASSWORD: tracking.password holds a placeholder secret"),
    ({"KIT_TRACKING__URI": "http://me:changeme@host"}, "KIT_TRACKING__URI: tracking.uri holds a placeholder secret"),
]


@pytest.mark.parametrize(("environ", "finding"), LOOSE_ENDS)
def test_local_allows_it_dev_warns_of_it_and_the_later_stages_refuse_it(repository, environ, finding):
    repository.write("config/base.yaml", "data: {source: placeholder.csv}")  # where there is no secret it is no matter
    assert repository.read(KIT_STAGE="local", **environ).warnings == ()
    (warning,) = repository.read(KIT_STAGE="dev", **environ).warnings
    assert finding in warning
    for stage in ("test", "staging", "prod"):
        said = refusal(repository, KIT_STAGE=stage, **environ)
        assert f"{finding}, which {stage} does not allow" in said
        assert re.search("Set it to false|MLflow server|secret of your own", said)
        assert "change" not in said.lower()


def test_prod_alone_wants_the_api_key_and_in_so_many_words_and_staging_says_that_there_is_none(repository):
    off, said = {"KIT_SERVING__REQUIRE_API_KEY": "false"}, "serving.require_api_key is false"
    for stage in ("local", "dev", "test", "staging"):
        read = repository.read(KIT_STAGE=stage, **off)
        assert not read.settings.serving.require_api_key
        warned = [f"KIT_SERVING__REQUIRE_API_KEY: {said}, which staging does not allow" in one for one in read.warnings]
        assert warned == ([True] if stage == "staging" else [])
    assert "serving.require_api_key" in weakening(read)
    assert f"KIT_SERVING__REQUIRE_API_KEY: {said}" in refusal(repository, KIT_STAGE="prod", **off)
    repository.write("config/prod.yaml", "tracking: {uri: 'http://host'}")
    assert f"default: {said}" in refusal(repository, KIT_STAGE="prod")


@pytest.mark.parametrize("stage", ["staging", "prod"])
@pytest.mark.parametrize(
    "name", ["policy", "parity", "holdout", "leak", "champion", "slices", "signature", "a check of the project"]
)
def test_gatekeepers_keep_their_checks_and_may_leave_out_others(repository, stage, name):
    repository.write("config/base.yaml", "data: {source: a.csv}\ngate: {checks: {latency: false}}")
    assert repository.read(KIT_STAGE=stage).settings.gate.checks == {"latency": False}
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\ngate: {{checks: {{{name}: false}}}}")
    assert repository.read(KIT_STAGE="test").settings.gate.checks == {name: False}
    said = refusal(repository, KIT_STAGE=stage)
    assert f"config/base.yaml: gate.checks.{name} is false, which {stage} does not allow" in said
    assert "may leave out estimator, baseline, latency, size, robustness" in said


@pytest.mark.parametrize(
    ("stage", "said", "finding", "hint"),
    [
        ("dev", "sensitive: raw", "privacy.sensitive is raw, which dev", "generalise, mock or drop"),
        ("dev", "identifiers: pseudonymise", "privacy.identifiers is pseudonymise, which dev", "drop"),
        ("dev", "columns: {age: raw}", "privacy.columns.age is raw, which dev", "generalise or drop"),
        ("test", "sensitive: raw", "privacy.sensitive is raw, which test", "generalise, mock or drop"),
        ("test", "columns: {age: raw}", "privacy.columns.age is raw, which test", "generalise or drop"),
    ],
)
def test_weaker_policy_is_refused_with_file_and_key(repository, stage, said, finding, hint):
    path = f"config/{stage}.yaml"
    by_variable = refusal(repository, KIT_STAGE=stage, KIT_PRIVACY__SENSITIVE="raw")
    assert by_variable.startswith(f"KIT_PRIVACY__SENSITIVE: privacy.sensitive is raw, which {stage} does not")
    repository.write(path, (repository.root / path).read_text() + f"privacy: {{{said}}}\n")
    by_file = refusal(repository, KIT_STAGE=stage)
    assert by_file.startswith(f"{path}: {finding}")
    assert f"Set it to {hint}, or leave it out" in by_file


@pytest.mark.parametrize(
    ("sensitive", "age", "stages"), [("mock", "drop", list(Stage)), ("raw", "raw", ["local", "staging", "prod"])]
)
def test_every_stage_may_hide_more_and_who_may_see_raw_may_say_so(repository, sensitive, age, stages):
    said = {"KIT_PRIVACY__SENSITIVE": sensitive, "KIT_PRIVACY__COLUMNS": f'{{"age": "{age}"}}'}
    for stage in stages:
        privacy = repository.read(KIT_STAGE=stage, **said).settings.privacy
        assert (privacy.sensitive, privacy.columns) == (sensitive, {"age": age})
