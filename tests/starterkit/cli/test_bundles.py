"""The commands around bundles, without a server: keys, and what is refused before anybody is asked."""

import json
import re
import shutil

TO_PROD = {"KIT_STAGE": "prod", "KIT_TRACKING__URI": "http://127.0.0.1:1"}


def test_keys_makes_one_key_and_prints_what_prod_needs(run, repository):
    first = run(repository, "keys")
    assert first.returncode == 0, first.stderr
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


def test_a_key_from_elsewhere_is_not_renewed_in_vain(run, repository):
    given = {"KIT_PROMOTION__SIGNING_KEY": "A" * 43 + "="}
    assert run(repository, "keys", **given).returncode == 0
    done = run(repository, "keys", "--new", **given)
    assert done.returncode == 2
    assert "the key comes from KIT_PROMOTION__SIGNING_KEY" in done.stderr
    assert not (repository / "secrets").exists()


def test_without_a_key_nothing_is_bundled(run, repository):
    done = run(repository, "bundle", "x.zip")
    assert (done.returncode, done.stdout) == (2, "")
    assert "promotion.signing_key is not set" in done.stderr
    assert "Run `starterkit keys`" in done.stderr


def test_a_bundle_that_prod_will_not_take_says_so(run, first_run, tmp_path):
    trained = shutil.copytree(first_run[0], tmp_path / "copy")
    run(trained, "keys")
    done = run(trained, "bundle", "x.zip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "Prod will not take it: it takes staging's versions alone, and this is local's."
    ]
