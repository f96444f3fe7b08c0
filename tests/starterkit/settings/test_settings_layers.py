"""The layers: which of them wins, what each value is read as, and what is remembered of its origin."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from starterkit.errors import SettingsError
from starterkit.settings import Settings, Stage, layers, load_settings, read_layers
from starterkit.settings.load import find_root

KEY = "sixteen-characters"


def test_each_layer_overrides_the_ones_below(repository):
    repository.write(
        "config/base.yaml", "data: {source: a.csv}\nserving: {port: 1, threads: 1, max_rows: 1, host: base}"
    )
    repository.write(
        "config/local.yaml", "tracking: {uri: 'sqlite:///a.db'}\nserving: {port: 2, threads: 2, max_rows: 2}"
    )
    repository.write("secrets/KIT_SERVING__PORT", "3\n")
    repository.write("secrets/KIT_SERVING__THREADS", "3\n")

    found = repository.read(KIT_SERVING__PORT="4")

    serving = found.settings.serving
    assert (serving.port, serving.threads, serving.max_rows, serving.host) == (4, 3, 2, "base")
    assert found.origins["serving.port"] == "KIT_SERVING__PORT"
    assert found.origins["serving.threads"] == "secrets/KIT_SERVING__THREADS"
    assert found.origins["serving.max_rows"] == "config/local.yaml"
    assert found.origins["serving.host"] == "config/base.yaml"
    assert found.origins["serving.max_body_bytes"] == "default"


def test_every_value_has_an_origin_even_within_mappings(repository):
    repository.write("config/base.yaml", "data: {source: a.csv}\ngate: {limits: {rmse: {max: 65}}}")

    origins = repository.read(KIT_STAGE="dev", KIT_GATE__LIMITS='{"rmse": {"min": 0}, "r2": {"min": 0.3}}').origins

    assert origins["stage"] == "KIT_STAGE"
    assert origins["gate.limits.rmse.max"] == "config/base.yaml"
    assert origins["gate.limits.rmse.min"] == "KIT_GATE__LIMITS"
    assert origins["gate.limits.r2.max"] == "default"
    assert "root" not in origins


def test_mappings_merge_by_key_in_the_environment_too(repository):
    repository.write("config/base.yaml", "data: {source: a.csv}\ntraining: {params: {depth: 2, rate: 0.1}}")

    params = repository.read(KIT_TRAINING__PARAMS='{"depth": 3}').settings.training.params

    assert params == {"depth": 3, "rate": 0.1}


@pytest.mark.parametrize(
    ("written", "value"),
    [("1", 1), ("1.0", 1.0), ("1e-3", 0.001), ("true", True), ("null", None), ("'1'", "1"), ("gini", "gini")],
)
def test_parameters_keep_the_type_that_yaml_shows(repository, written, value):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\ntraining: {{params: {{it: {written}}}}}")

    read = repository.read().settings.training.params["it"]

    assert read == value
    assert type(read) is type(value)


def test_a_secret_comes_from_a_file_or_from_the_environment(repository):
    repository.write("secrets/KIT_SERVING__API_KEY", KEY + "\n")
    repository.write("secrets/KIT_TRACKING__TOKEN", " spaces stay \r\n")
    repository.write("secrets/.gitkeep", "")

    settings = repository.read(KIT_DATA__PASSWORD="open sesame").settings

    assert settings.serving.api_key.get_secret_value() == KEY
    assert settings.tracking.token.get_secret_value() == " spaces stay "
    assert settings.data.password.get_secret_value() == "open sesame"
    assert KEY not in repr(settings)


@pytest.mark.parametrize("stage", list(Stage))
def test_the_stage_picks_its_file(repository, stage):
    repository.write("config/base.yaml", "data: {source: a.csv}\nserving: {require_api_key: true}")
    repository.write(f"config/{stage}.yaml", f"tracking: {{uri: 'http://{stage}'}}")

    settings = repository.read(KIT_STAGE=stage).settings

    assert settings.stage is stage
    assert settings.tracking.uri == f"http://{stage}"


def test_the_stage_is_local_if_nothing_names_it(repository):
    assert repository.read().settings.stage is Stage.LOCAL


def test_an_empty_file_says_nothing(repository):
    repository.write("config/local.yaml", "# nothing yet\n")

    assert repository.read(KIT_TRACKING__URI="http://tracking").origins["tracking.uri"] == "KIT_TRACKING__URI"


def test_the_root_is_found_from_a_folder_below(repository, monkeypatch):
    (repository.root / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(repository.root / "src" / "deep")

    settings = load_settings(environ={})

    assert settings.root == repository.root


def test_outside_a_repository_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"config/base.yaml") as caught:
        load_settings(environ={})
    assert caught.value.hint == "Run this inside the repository"
    assert str(tmp_path) not in str(caught.value)


def test_the_process_environment_is_the_default(repository, monkeypatch):
    for name in [name for name in os.environ if name.upper().startswith("KIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KIT_SERVING__PORT", "4321")

    assert read_layers(repository.root).settings.serving.port == 4321


def test_settings_are_made_of_what_is_passed_alone(monkeypatch):
    monkeypatch.setenv("KIT_SERVING__PORT", "4321")

    settings = Settings.model_validate({"root": Path(), "data": {"source": "a.csv"}, "tracking": {"uri": "http://t"}})

    assert settings.serving.port == 8000


def test_settings_cannot_be_changed(repository):
    found = repository.read()
    with pytest.raises(ValidationError):
        found.settings.serving.port = 1
    with pytest.raises(ValidationError):
        found.settings.debug = True
    with pytest.raises(TypeError):
        found.origins["debug"] = "nowhere"


def test_the_given_root_and_environment_are_read_and_no_others(repository, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "config").mkdir(parents=True)
    for name in ("base", "local"):
        (elsewhere / "config" / f"{name}.yaml").write_bytes((repository.root / f"config/{name}.yaml").read_bytes())
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("KIT_SERVING__PORT", "4321")

    settings = load_settings(repository.root, {"KIT_SERVING__THREADS": "3"})

    assert (settings.root, settings.serving.port, settings.serving.threads) == (repository.root, 8000, 3)


def test_the_nearest_root_upwards_is_found_and_only_by_its_base_file(tmp_path):
    inner = tmp_path / "outer" / "inner"
    (inner / "below" / "config").mkdir(parents=True)
    for root in (tmp_path / "outer", inner):
        (root / "config").mkdir(exist_ok=True)
        (root / "config" / "base.yaml").touch()
    assert find_root(inner / "below") == inner
    assert find_root(inner) == inner
    (inner / "config" / "base.yaml").unlink()
    (inner / "config" / "base.yaml").mkdir()
    assert find_root(inner / "below") == tmp_path / "outer"


def test_a_later_folder_of_secrets_wins_and_the_environment_over_both(repository, monkeypatch):
    monkeypatch.setattr(layers, "SECRET_FOLDERS", ("secrets", "mounted"))
    for folder in ("secrets", "mounted"):
        repository.write(f"{folder}/KIT_SERVING__PORT", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/KIT_SERVING__THREADS", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/README", "not a setting")
    found = repository.read(KIT_SERVING__PORT="3")
    assert (found.settings.serving.port, found.settings.serving.threads) == (3, 2)
    assert found.origins["serving.threads"] == "mounted/KIT_SERVING__THREADS"


def test_a_secrets_folder_that_is_a_file_says_nothing(repository):
    repository.write("secrets", "a file")
    assert repository.read().settings.serving.api_key is None


@pytest.mark.parametrize(("text", "read"), [("key of 16 chars\n\n", "key of 16 chars\n"), ("key of 16 chars. ", None)])
def test_one_end_of_line_is_no_part_of_a_secret(repository, text, read):
    repository.write("secrets/KIT_SERVING__API_KEY", text)
    assert repository.read().settings.serving.api_key.get_secret_value() == (text if read is None else read)
