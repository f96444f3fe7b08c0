"""What one stage hands on to the next, without a server: keys, bundles and prepared data."""

import json
import re
import shutil

TO_PROD = {"KIT_STAGE": "prod", "KIT_TRACKING__URI": "http://127.0.0.1:1"}


def test_keys_makes_one_key_and_prints_what_prod_needs(run, repository):
    first = run(repository, "keys", code=0)
    (line,) = re.findall(r"promotion:\n  trusted_keys:\n    - (\S{44}) # \w{16}", first.stdout)
    said = json.loads(run(repository, "keys", "--json").stdout)
    assert (said["public"], said["made"]) == (line, False)
    secret = (repository / "secrets" / "KIT_PROMOTION__SIGNING_KEY").read_text().strip()
    assert secret not in first.stdout + first.stderr + run(repository, "config", "show").stdout
    again = json.loads(run(repository, "keys", "--new", "--json").stdout)
    assert again["made"]
    assert again["public"] != line
    prod = repository / "config" / "prod.yaml"
    prod.write_text(prod.read_text() + "\n".join(["", *first.stdout.splitlines()[-3:], ""]))
    assert (
        run(repository, "config", "show", **TO_PROD, KIT_SERVING__API_KEY="a-key-of-enough-characters").returncode == 0
    )


def test_a_key_from_elsewhere_is_not_renewed_in_vain_and_without_one_nothing_is_bundled(run, repository):
    given = {"KIT_PROMOTION__SIGNING_KEY": "A" * 43 + "="}
    run(repository, "keys", **given, code=0)
    assert "the key comes from KIT_PROMOTION__SIGNING_KEY" in run(repository, "keys", "--new", **given, code=2).stderr
    assert not (repository / "secrets").exists()
    done = run(repository, "bundle", "x.zip")
    assert (done.returncode, done.stdout) == (2, "")
    assert "promotion.signing_key is not set" in done.stderr
    assert "Run `starterkit keys`" in done.stderr


def test_a_bundle_that_prod_will_not_take_says_so(run, first_run, tmp_path):
    trained = shutil.copytree(first_run[0], tmp_path / "copy")
    run(trained, "keys")
    done = run(trained, "bundle", "x.zip", code=0)
    assert done.stdout.splitlines()[1:] == [
        "Prod will not take it: it takes staging's versions alone, and this is local's."
    ]


# --- `data prepare`, and the stage that reads what it wrote.


def test_prepare_then_the_stage_reads_it(run, repository):
    done = run(repository, "doctor", KIT_STAGE="test")
    assert "Run `KIT_STAGE=local starterkit data prepare --for test`" in done.stdout + done.stderr
    done = run(repository, "data", "prepare", "--for", "test", code=0)
    assert "age, sex, progression" in done.stdout
    assert "data/test/diabetes.parquet, 442 rows" in done.stdout
    assert "warning: 8 people are alone with their age, sex, progression" in done.stderr
    done = run(repository, "doctor", KIT_STAGE="test", KIT_TRACKING__URI="http://127.0.0.1:9")
    assert "442 rows, 98 of them held out" in done.stdout


def test_json_is_the_proof_and_another_stages_yaml_decides(run, repository):
    done = run(
        repository, "data", "prepare", "--for", "staging", "--fraction", "0.2", "--json", "--to", "s.parquet", code=0
    )
    said = json.loads(done.stdout)
    assert (said["stage"], said["fraction"], said["warnings"]) == ("staging", 0.2, [])
    assert said["seal"] == json.loads((repository / "s.proof.json").read_text())["seal"]
    config = repository / "config" / "test.yaml"
    config.write_text(config.read_text() + "\nprivacy:\n  sensitive: mock\n")
    done = run(
        repository, "data", "prepare", "--for", "test", "--json", KIT_TRACKING__URI="sqlite:///mlflow.db", code=0
    )
    assert json.loads(done.stdout)["policy"]["bmi"] == "mock"
