"""What nobody may loosen in silence: the gate's rules, the API's key, and values that nobody has given yet."""

import re

import pytest

from starterkit.errors import SettingsError
from starterkit.settings import Stage, weakening
from starterkit.settings.floors import is_placeholder_host, is_this_machine, looser, rules_in, rules_of, rules_of_files
from starterkit.settings.layers import variables

PLACEHOLDERS = ["change-me", "xx-Change_Me-xx", "a-Placeholder-it-is", "<the key>", "${KEY}", "your-api-key", "secret"]
PLACEHOLDERS += ["CHANGEME", "   ", "xxxxxxxx", "secret-secret-secret", "my password 123", "12345678", "TODO"]
PLACEHOLDERS += ["admin 2024"]


@pytest.mark.parametrize("secret", PLACEHOLDERS)
def test_placeholders_are_known_as_a_kind(repository, secret):
    for name in ("KIT_TRACKING__TOKEN", "KIT_TRACKING__PASSWORD"):
        with pytest.raises(SettingsError, match="placeholder"):
            repository.read(KIT_STAGE="staging", **{name: secret})


@pytest.mark.parametrize(
    "secret", ["correct horse", "Tr0ub4dor&3", "a-key-of-enough-characters", "NUKIaUPvShlXxFVE", "admin 20245"]
)
def test_what_somebody_thought_of_is_no_placeholder(repository, secret):
    assert repository.read(KIT_STAGE="staging", KIT_TRACKING__PASSWORD=secret).warnings == ()
    assert repository.read(KIT_STAGE="staging", KIT_TRACKING__URI=f"http://me:{secret}@host").warnings == ()


@pytest.mark.parametrize("uri", ["http://<host>", "https://mlflow.example.com", "http://your-server:5000"])
def test_prod_has_a_server_of_its_own(repository, uri):
    with pytest.raises(SettingsError, match=r"KIT_TRACKING__URI: tracking.uri is a placeholder, which prod does not"):
        repository.read(KIT_STAGE="prod", KIT_TRACKING__URI=uri)
    here = "http://localhost:5000"
    assert repository.read(KIT_STAGE="prod", KIT_TRACKING__URI=here).settings.tracking.uri == here  # somebody said so
    repository.write("config/prod.yaml", f"tracking: {{uri: '{here}'}}\nserving: {{require_api_key: true}}\n")
    with pytest.raises(SettingsError, match=r"config/prod.yaml: tracking.uri is a placeholder"):
        repository.read(KIT_STAGE="prod")


RULES = """
data: {source: a.csv}
gate: {limits: {rmse: {max: 65}, r2: {min: 0.3}}, leak_limit: 0.98}
"""
BY_FILES = "config/base.yaml and config/{stage}.yaml say {said}, and a variable can only be stricter"
LOOSER = [  # the key, what a variable says, and what stands against it: a stage's own bound, or what the files say
    ("gate.limits.rmse.max", "500", "65"), ("gate.limits.r2.min", "-1", "0.3"),
    ("gate.tolerance", "1", "takes at most 0.1"), ("gate.tolerance", "0.05", "0.02"),
    ("gate.undecided", "pass", "takes refuse"),
    ("gate.min_rows", "10", "takes at least 30"), ("gate.min_rows", "40", "50"),
    ("gate.leak_limit", "1", "takes at most 0.99"), ("gate.leak_limit", "0.985", "0.98"),
    ("gate.heavier", "1000", "takes at most 10"), ("gate.heavier", "5", "3"),
    ("gate.latency_floor_ms", "1000", "takes at most 50"), ("gate.size_floor_mb", "1000", "takes at most 100"),
    ("gate.checks.baseline", "false", "nothing"), ("export.tolerance", "1", "takes at most 0.001"),
    ("export.tolerance", "0.0001", "1e-05"), ("export.probability_tolerance", "1", "takes at most 0.0001"),
]  # fmt: skip


def variable(key: str, said: str) -> dict[str, str]:
    """What is deeper than a section is JSON."""
    section, name, *deeper = key.split(".")
    for inner in reversed(deeper):
        said = f'{{"{inner}": {said}}}'
    return {f"KIT_{section}__{name}".upper(): said}


@pytest.mark.parametrize(("key", "said", "against"), LOOSER)
def test_no_variable_makes_a_gatekeeper_looser(repository, key, said, against):
    repository.write("config/base.yaml", RULES)
    given = variable(key, said)
    for stage in ("staging", "prod"):
        with pytest.raises(SettingsError) as caught:
            repository.read(KIT_STAGE=stage, **given)
        assert str(caught.value).startswith(f"{next(iter(given))}: {key} is {said}, which {stage} does not allow")
        assert (against if "takes" in against else BY_FILES.format(stage=stage, said=against)) in caught.value.hint
    assert weakening(repository.read(KIT_STAGE="dev", **given))[key]  # shown
    repository.write(f"secrets/{next(iter(given))}", next(iter(given.values())))  # nor does a file that nobody commits
    with pytest.raises(SettingsError, match=re.escape(f"{key} is {said}, which prod does not allow")):
        repository.read(KIT_STAGE="prod")


def test_what_weakens_a_stage_is_said_in_words(repository):
    repository.write("config/base.yaml", RULES.replace("leak_limit: 0.98", "leak_limit: 0.98, heavier: 5"))
    loose = {"KIT_GATE__TOLERANCE": "0.5", "KIT_EXPORT__PARITY_ROWS": "100", "KIT_DEBUG": "true"}
    assert weakening(repository.read(KIT_STAGE="dev", KIT_SERVING__REQUIRE_API_KEY="false", **loose)) == {
        "gate.heavier": "the default is 3", "gate.tolerance": "the files say 0.02",
        "export.parity_rows": "the default is 100000", "debug": "shows more than it should",
    }  # fmt: skip
    open_api = weakening(repository.read(KIT_STAGE="test", KIT_SERVING__REQUIRE_API_KEY="false"))
    assert open_api == {
        "gate.heavier": "the default is 3", "serving.require_api_key": "whoever reaches the port is answered",
    }  # fmt: skip


def test_a_variable_may_make_it_stricter(repository):
    repository.write("config/base.yaml", RULES)
    stricter = {"KIT_GATE__LIMITS": '{"rmse": {"max": 60, "min": 1}}', "KIT_GATE__TOLERANCE": "0"}
    assert weakening(repository.read(KIT_STAGE="staging", KIT_GATE__MIN_ROWS="90", **stricter)) == {}


@pytest.mark.parametrize("rule", ["tolerance: 0.2", "undecided: pass", "min_rows: 20", "leak_limit: 1", "heavier: 20"])
def test_files_have_a_floor_too(repository, rule):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\ngate: {{{rule}}}\n")
    repository.read(KIT_STAGE="test")
    with pytest.raises(SettingsError, match=rf"config/base.yaml: gate.{rule.split(':')[0]} is"):
        repository.read(KIT_STAGE="staging")


def test_rules_are_those_of_the_files_of_another_commit_or_of_what_was_judged(repository):
    repository.write("config/base.yaml", RULES)
    read = repository.read(KIT_STAGE="staging", KIT_GATE__TOLERANCE="0.01").settings
    files, said = rules_of_files(repository.root, Stage.STAGING), rules_of(read.gate, read.export)
    assert files == {**said, "gate.tolerance": 0.02}
    for name in ("config/base.yaml", "config/staging.yaml"):
        other = rules_of_files(repository.root, Stage.STAGING, {name: "gate: {min_rows: 77, checks: {size: false}}"})
        assert other.items() >= {("gate.min_rows", 77), ("gate.checks.size", False)}
        assert ("gate.limits.rmse.max" in other) == ("staging" in name)
    gate = read.gate.model_dump(mode="json")
    for problem, name in (("classification", "export.probability_tolerance"), ("regression", "export.tolerance")):
        judged = {"settings": gate, "problem": {"task": problem}, "parity": {"allowed": 0.5}}
        expected = {key: value for key, value in said.items() if not key.startswith("export.")}
        assert rules_in(judged) == expected | {name: 0.5}
        for parity in ({}, {"parity": {}}, {"parity": 0.5}):
            assert rules_in({"settings": gate, **parity}) == expected
    assert [rules_in(other) for other in ({}, {"settings": "pass"})] == [{}, {}]
    exact = {"config/staging.yaml": "export: {tolerance: 0.0001}"}
    assert rules_of_files(repository.root, Stage.STAGING, exact)["export.tolerance"] == 0.0001
    with pytest.raises(SettingsError) as caught:
        rules_of_files(repository.root, Stage.STAGING, {"config/base.yaml": "gate: {tolerance: little}"})
    what = "the rules of stage staging's gate cannot be read from config/base.yaml and config/staging.yaml"
    assert (caught.value.what, "KIT_STAGE=staging starterkit config" in caught.value.hint) == (what, True)


@pytest.mark.parametrize(
    ("rules", "than", "looser_ones"),
    [
        ({"gate.tolerance": 0.1}, {}, []), ({}, {"gate.tolerance": 0.1}, []),  # another kit wrote it
        ({"gate.tolerance": "much"}, {"gate.tolerance": 0.1}, ["gate.tolerance"]),
        ({"gate.undecided": "pass"}, {"gate.undecided": "refuse"}, ["gate.undecided"]),
        ({}, {"gate.limits.rmse.max": 9}, ["gate.limits.rmse.max"]), ({"gate.limits.rmse.max": 9}, {}, []),
        ({"gate.checks.size": False}, {}, ["gate.checks.size"]), ({"gate.unknown": 1}, {"gate.unknown": 0}, []),
    ],
)  # fmt: skip
def test_which_rule_is_looser(rules, than, looser_ones):
    assert [key for key, *_ in looser(rules, than)] == looser_ones


def test_hosts_that_nobody_has_given_and_this_machine():
    assert all(map(is_placeholder_host, ("http:///x", "http://[::1", "http://<host>", "http://a.example")))
    assert not any(map(is_placeholder_host, ("http://[::1]", "http://mlflow")))
    assert all(map(is_this_machine, ("http://localhost", "http://127.0.0.1:5000", "http://[::1]:5000")))
    assert not any(map(is_this_machine, ("http://[::1", "http://mlflow")))


@pytest.mark.parametrize(("stage", "most"), [("dev", 365), ("prod", 730)])
def test_predictions_are_kept_so_long_and_no_longer(repository, stage, most):
    given = {"KIT_STAGE": stage, "KIT_FEEDBACK__KEEP_DAYS": "180"}
    repository.read(**given, KIT_FEEDBACK__ARCHIVE_DAYS=str(most - 180))
    what = f"KIT_FEEDBACK__KEEP_DAYS: feedback.keep_days and archive_days are more days, which {stage} does not allow"
    with pytest.raises(SettingsError, match=f"{what}. Keep them for {most} days together"):
        repository.read(**given, KIT_FEEDBACK__ARCHIVE_DAYS=str(most - 179))


def test_a_core_check_that_a_variable_switches_off_is_said_once(repository):
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE="staging", KIT_GATE__CHECKS='{"leak": false}')
    assert str(caught.value).count("gate.checks.leak is false") == 1


REFUSED, OF_PROD = "refused", "refused in prod"
IDS, RESOURCE = "who somebody is on MLflow's server: that checks it", "what the API gets; each has bounds of its own"
LOAD, TRAINING = "what a load test asks; no gate knows it", "another model, which the gate judges"
DATA = "each stage has its own data; a holdout's size stands in the evidence"
KEYS = "a signature of another key is none"
SHOWN = "decides nothing at the gate of a version; `config show` marks it, or the evidence has it"
WATCHED = "says who hears of what; it promotes nothing"
GATED = "what is retrained still has to pass the gate"
LOOSEST = {
    "stage": ("local", "another stage, with another registry"),
    "debug": ("true", REFUSED),
    "data.source": ("other.csv", DATA), "data.dialect": ('{"delimiter": ";"}', DATA),
    "data.query": ("SELECT 1", REFUSED), "data.password": ("a-word", IDS),
    "tracking.uri": ("sqlite:///mlflow.db", REFUSED), "tracking.username": ("eve", IDS),
    "tracking.password": ("an-other-word", IDS), "tracking.token": ("an-other-word", IDS),
    "privacy.identifiers": ("drop", "hides more"), "privacy.sensitive": ("raw", "both see people as they are"),
    "privacy.columns": ('{"age": "raw"}', "likewise"), "privacy.key": ("k3y-" * 9 + "x7", "of other stages"),
    "training.seed": ("7", TRAINING), "training.params": ('{"n_estimators": 1}', TRAINING),
    "export.parity_rows": ("100", SHOWN), "export.tolerance": ("1", REFUSED),
    "export.probability_tolerance": ("1", REFUSED), "export.reach": ("1000000", SHOWN),
    "export.unstable": ("1", SHOWN),
    "gate.limits": ('{"rmse": {"max": 1e9}}', REFUSED), "gate.checks": ('{"leaks": false}', REFUSED),
    "gate.tolerance": ("1", REFUSED), "gate.min_rows": ("10", REFUSED), "gate.undecided": ("pass", REFUSED),
    "gate.undecided_slices": ("pass", "the default"), "gate.leak_limit": ("1", REFUSED),
    "gate.heavier": ("1000", REFUSED),
    "gate.latency_floor_ms": ("1000", REFUSED), "gate.size_floor_mb": ("1000", REFUSED),
    "promotion.lock_minutes": ("1", "a promotion that lost its lock stops"),
    "promotion.keep_days": ("0", "`prune` keeps the champion and the five newest, and says before what it would"),
    "promotion.signing_key": ("s1gn-k3y-of-eve", KEYS), "promotion.version_key": ("v3ry" * 9 + "0ther", KEYS),
    "promotion.trusted_keys": ('["' + "A" * 43 + '="]', OF_PROD), "promotion.approvers": ('["eve"]', OF_PROD),
    "promotion.approver_password": ("an-other-word", IDS),
    "serving.host": ("0.0.0.0", RESOURCE), "serving.port": ("9999", RESOURCE),
    "serving.beyond": ("mark", "answers say so"),
    "serving.shadow": ("1", "nobody gets its answers, and both ask that the gate passed it"),
    "serving.max_rows": ("100000", RESOURCE), "serving.max_body_bytes": ("100000000", RESOURCE),
    "serving.raw_records": ("true", "the same checks after reading"), "serving.workers": ("64", RESOURCE),
    "serving.threads": ("64", RESOURCE), "serving.providers": ('["cuda"]', RESOURCE),
    "serving.provider_fallback": ("true", RESOURCE), "serving.memory_mb": ("100000", RESOURCE),
    "serving.max_connections": ("65535", RESOURCE), "serving.seconds_to_ask": ("600", RESOURCE),
    "serving.api_key": ("a-key-that-somebody-knows", "whoever sets it runs the API"),
    "serving.api_keys_file": ("mine.txt", "whoever sets it runs the API"),
    "serving.follow_seconds": ("0", "then a champion waits for a restart"),
    "serving.webhook_secret": ("a-w0rd-of-eve-and-more", "whoever knows it may have the registry asked again"),
    "serving.copy_folder": ("/tmp/mine", "whoever sets it runs the API; the version key signs what is in it"),
    "serving.log_format": ("text", "the same lines"), "serving.log_requests": ("true", "no value is in them"),
    "serving.require_api_key": ("false", OF_PROD),
    "monitoring.window_minutes": ("1", WATCHED), "monitoring.rules": ("[]", WATCHED),
    "monitoring.webhook": ("http://127.0.0.1:9/", WATCHED), "monitoring.email_to": ('["eve@a.example"]', WATCHED),
    "monitoring.email_from": ("eve@a.example", WATCHED), "monitoring.smtp": ("127.0.0.1:9", WATCHED),
    "monitoring.smtp_user": ("eve", WATCHED), "monitoring.smtp_password": ("a-word", WATCHED),
    "monitoring.least_labelled": ("20", GATED), "monitoring.cooldown_hours": ("0", GATED),
    "monitoring.guard": ("1", GATED),
    "feedback.log": ("false", "an API without a record of what it said; the gate does not know it"),
    "feedback.database": ("sqlite:////tmp/mine.db", "whoever sets it runs the API"),
    "feedback.password": ("an-other-word", "the database checks it"),
    "feedback.durability": ("process", "the default"), "feedback.when_lost": ("answer", "the loss is counted and told"),
    "feedback.keep_days": ("1", "less of people is kept"), "feedback.archive_days": ("0", "less of people is kept"),
    "loadtest.connections": ("1", LOAD), "loadtest.seconds": ("1", LOAD), "loadtest.max_errors": ("1000000", LOAD),
    "loadtest.max_p95_ms": ("1e9", LOAD), "loadtest.min_throughput": ("1", LOAD), "loadtest.max_cores": ("1000", LOAD),
    "loadtest.max_memory_mb": ("1e9", LOAD),
}  # fmt: skip


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_each_setting_is_refused_or_harmless(repository, stage):
    repository.write("config/base.yaml", RULES)
    assert set(LOOSEST) == {".".join(key) for key in variables().values()}
    refused = set()
    for name, (value, _) in LOOSEST.items():
        if name != "stage":
            try:
                repository.read(KIT_STAGE=stage, **{f"KIT_{name.replace('.', '__').upper()}": value})
            except SettingsError:
                refused.add(name)
    also = {OF_PROD} if stage == "prod" else set()
    assert refused == {name for name, (_, why) in LOOSEST.items() if why in {REFUSED} | also}
