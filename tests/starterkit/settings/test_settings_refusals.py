"""Everything that the settings refuse, and that each message names the place, the key and never a secret."""

from base64 import b64encode
from pathlib import Path

import pytest

from starterkit.errors import SettingsError
from starterkit.settings.load import together

SECRET = "hunter2-hunter2-hunter2"


def refused(repository, **environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        repository.read(**environ)
    message = str(caught.value)
    assert str(repository.root) not in message
    assert SECRET not in message
    return caught.value


def refusal(repository, **environ: str) -> str:
    return str(refused(repository, **environ))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # Keys that are no settings.
        ("servng: {port: 1}", ["servng is not a setting", "did you mean serving?"]),
        ("serving: {prt: 1}", ["serving.prt is not a setting", "did you mean serving.port?", "max_rows"]),
        ("gate: {limits: {rmse: {maxx: 1}}}", ["gate.limits.rmse.maxx", "did you mean gate.limits.rmse.max?"]),
        # What YAML may not say.
        ("stage: dev", ["stage may not be set in YAML", "KIT_STAGE"]),
        ("root: /", ["root may not be set in YAML"]),
        ("root: {a: b}", ["root.a may not be set in YAML"]),
        (f"serving: {{api_key: {SECRET}}}", ["serving.api_key may not be set in YAML", "secrets/KIT_SERVING__API_KEY"]),
        ("data: {password: null}", ["data.password may not be set in YAML", "KIT_DATA__PASSWORD"]),
        (f"tracking: {{uri: 'http://me:{SECRET}@host'}}", ["tracking.uri holds a password"]),
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
        ("data: {source: a.txt}", ["data.source should be: A .csv or .parquet file"]),
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
        # Files that are no settings at all.
        ("serving:\n  port: 1\n  port: 2", ["line 3, column 3: the key port is given twice"]),
        ("debug: true\ndebug: false", ["line 2, column 1: the key debug is given twice"]),
        ("training: {params: {1: 2}}", ["line 1, column 21: a key should be text"]),
        ("training: &it {params: *it}", ["line 1, column 24: an alias is not allowed"]),
        ("serving: {port: 1", ["line 1, column 18"]),
        ("a: 1\n---\nb: 2", ["line 2, column 1"]),
        ("debug: \x07", ["holds something that YAML does not allow"]),
        ("training: {params: {day: 2024-02-31}}", ["holds something that YAML does not allow"]),
        ("- serving", ["should hold keys and values at its top"]),
        ("serving", ["should hold keys and values at its top"]),
        (b"debug: \xff", ["is not UTF-8"]),
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
        ("KIT_GATE__LIMITS", "{", ["gate.limits should be a JSON object"]),
        ("KIT_SERVING__PROVIDERS", "cpu", ["serving.providers should be a JSON list"]),
        (
            "KIT_SERVING__PROVIDERS",
            '["tpu"]',
            ["KIT_SERVING__PROVIDERS: serving.providers.0 should be 'cpu' or 'cuda'"],
        ),
        ("KIT_GATE__LIMITS", "[1]", ["gate.limits should hold keys and values"]),
        (
            "KIT_GATE__LIMITS",
            '{"r2": {"min": 1}, "r2": {"min": 0}}',
            ["gate.limits should be a JSON object without dupl"],
        ),
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


def test_an_unknown_name_is_seen_behind_a_known_one(repository):
    assert refusal(repository, KIT_DEBUG="false", KIT_FOO="1").startswith("KIT_FOO: no setting has this name")


def test_what_is_no_section_is_refused_where_the_base_has_one(repository):
    repository.write("config/base.yaml", "data: {source: a.csv}\nserving: {port: 1}\n")
    repository.write("config/dev.yaml", "tracking: {uri: 'http://host'}\nserving: 8000\n")
    assert refusal(repository, KIT_STAGE="dev").startswith("config/dev.yaml: serving should hold keys and values")


def test_a_name_that_resembles_none_is_not_guessed(repository):
    assert "did you mean" not in refusal(repository, KIT_SERVING__ZZZZ="1")


@pytest.mark.parametrize("name", ["", "Prod", "production", "local ", "Stage.DEV"])
def test_an_unknown_stage_is_refused_with_the_five_names(repository, name):
    assert "one of local, dev, test, staging, prod" in refusal(repository, KIT_STAGE=name)


def test_an_unknown_stage_that_looks_like_one_is_guessed(repository):
    assert "did you mean prod?" in refusal(repository, KIT_STAGE="PROD")


@pytest.mark.parametrize("name", ["config/base.yaml", "config/local.yaml"])
def test_a_missing_file_is_refused(repository, name):
    (repository.root / name).unlink()
    assert f"{name} is missing" in refusal(repository)


def test_a_file_that_cannot_be_read_is_refused(repository):
    (repository.root / "config/local.yaml").unlink()
    (repository.root / "config/local.yaml").mkdir()
    assert "config/local.yaml cannot be read" in refusal(repository)


@pytest.mark.parametrize(
    ("emptied", "key"), [("config/base.yaml", "data.source"), ("config/local.yaml", "tracking.uri")]
)
def test_a_missing_key_is_refused_with_the_file_to_put_it_in(repository, emptied, key):
    repository.write(emptied, "")
    message = refusal(repository)
    assert f"config/local.yaml: {key} is missing" in message
    assert "config/base.yaml" in message


@pytest.mark.parametrize("content", [b"\xff", None])
def test_a_secret_file_that_cannot_be_read_is_refused(repository, content):
    if content is None:
        (repository.root / "secrets/KIT_SERVING__API_KEY").mkdir(parents=True)
    else:
        repository.write("secrets/KIT_SERVING__API_KEY", content)
    assert "secrets/KIT_SERVING__API_KEY cannot be read" in refusal(repository)


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


def test_the_stage_cannot_come_from_a_secret_file(repository):
    repository.write("secrets/KIT_STAGE", "prod")
    assert "secrets/KIT_STAGE: no setting has this name. " in refusal(repository)


def test_a_secret_in_yaml_is_refused_even_if_the_environment_overrides_it(repository):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\nserving: {{api_key: {SECRET}}}")
    message = refusal(repository, KIT_SERVING__API_KEY="another-long-secret")
    assert "config/base.yaml: serving.api_key may not be set in YAML" in message


def test_a_range_that_two_files_make_empty_is_refused(repository):
    repository.write("config/base.yaml", "data: {source: a.csv}\ngate: {limits: {r2: {min: 0.3}}}")
    message = refusal(repository, KIT_GATE__LIMITS='{"r2": {"max": 0.1}}')
    assert "KIT_GATE__LIMITS: gate.limits.r2 has a min above its max" in message


def test_all_problems_are_listed_at_once_in_a_line_each(repository):
    repository.write("config/base.yaml", "serving: {port: 0}\nstage: dev\nservice: {}")

    summary, *lines = refusal(repository, KIT_SERVING__MAX_ROWS="none", KIT_FOO="1").splitlines()

    assert "6 problems" in summary
    for part in ["serving.port", "stage", "service", "data.source", "KIT_SERVING__MAX_ROWS", "KIT_FOO"]:
        assert len([line for line in lines if f": {part} " in line or line.startswith(f"- {part}:")]) == 1
    assert len(lines) == 6


def test_no_secret_is_kept_in_the_chain_of_exceptions(repository):
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_SERVING__PORT=SECRET)
    assert SECRET not in str(caught.value.__context__)
    assert caught.value.__suppress_context__


def test_a_public_key_is_taken(repository):
    key = b64encode(bytes(32)).decode()
    repository.write(
        "config/local.yaml", f"tracking: {{uri: 'sqlite:///a.db'}}\npromotion: {{trusted_keys: [{key}]}}\n"
    )
    assert repository.read().settings.promotion.trusted_keys == (key,)


@pytest.mark.parametrize(
    ("written", "environ", "hint"),
    [
        ({"config/local.yaml": None}, {}, "Bring it back"),
        ({"config/local.yaml": b"\xff"}, {}, "UTF-8"),
        ({"config/local.yaml": "debug: [1"}, {}, "Correct the YAML"),
        ({"config/local.yaml": "- debug"}, {}, "config/base.yaml"),
        ({"config/local.yaml": ""}, {}, "Add it there, or to config/base.yaml"),
        ({"config/local.yaml": "tracking: {uri: 'http://t', token: x}"}, {}, "KIT_TRACKING__TOKEN"),
        ({"config/local.yaml": "stage: dev\ntracking: {uri: 'http://t'}"}, {}, "KIT_STAGE"),
        ({"config/local.yaml": "root: /\ntracking: {uri: 'http://t'}"}, {}, "Remove it"),
        ({"config/local.yaml": "tracking: {uri: 'http://a:b@host'}"}, {}, "environment variable"),
        ({"config/local.yaml": "tracking: {uri: 'http://t'}\nservng: {}"}, {}, "allowed are debug, data, tracking"),
        ({"secrets/KIT_SERVING__API_KEY": b"\xff"}, {}, "UTF-8 file"),
        ({"secrets/KIT_STAGE": "prod"}, {}, "Remove or rename it; allowed are KIT_DEBUG"),
        ({}, {"KIT_FOO": "1"}, "allowed are KIT_STAGE, KIT_DEBUG, KIT_DATA__"),
        ({}, {"KIT_SERVING__PRT": "1"}, "allowed are KIT_SERVING__"),
        ({}, {"KIT_GATE__LIMITS": "{"}, "The range that each metric has to be in"),
        ({}, {"KIT_STAGE": "production"}, "local, dev, test, staging, prod"),
        ({}, {"KIT_STAGE": "test", "KIT_DEBUG": "true"}, "Set it to false"),
        ({}, {"KIT_STAGE": "test", "KIT_TRACKING__URI": "sqlite:///a.db"}, "MLflow server"),
        ({}, {"KIT_STAGE": "test", "KIT_TRACKING__TOKEN": "changeme"}, "secret of your own"),
        ({}, {"KIT_STAGE": "prod", "KIT_SERVING__REQUIRE_API_KEY": "0"}, "config/prod.yaml"),
    ],
)
def test_a_refusal_says_what_to_do(repository, written, environ, hint):
    for name, text in written.items():
        if text is None:
            (repository.root / name).unlink()
        else:
            repository.write(name, text)
    found = refused(repository, **environ)
    assert hint in found.hint
    assert "None" not in str(found)


def test_a_secret_in_yaml_may_also_stand_in_a_file_and_the_stage_may_not(repository):
    repository.write("config/local.yaml", "tracking: {uri: 'http://t', token: x}")
    assert refused(repository).hint.endswith("or write it to the file secrets/KIT_TRACKING__TOKEN")
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nstage: dev")
    assert "secrets/" not in refused(repository).hint


def test_a_key_that_resembles_none_is_not_guessed(repository):
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nzzzz: 1")
    assert refused(repository).what == "config/local.yaml: zzzz is not a setting"


def test_a_name_of_no_section_is_told_the_sections_once(repository):
    hint = refused(repository, KIT_FOO="1").hint
    assert hint.count("KIT_SERVING__…") == 1
    assert "KIT_SERVING__PORT" not in hint


def test_a_name_of_a_section_is_told_that_sections_names_alone(repository):
    hint = refused(repository, kit_serving__prt="1").hint
    assert "KIT_SERVING__PORT" in hint
    assert "KIT_DATA__SOURCE" not in hint


def test_a_problem_alone_stands_alone():
    one, other = SettingsError("a is wrong", "Mend a"), SettingsError("b is wrong")
    assert together([one]) is one
    assert str(together([one, other])).splitlines() == [
        "The settings have 2 problems:",
        "- a is wrong. Mend a.",
        "- b is wrong.",
    ]
