"""Azure Machine Learning: deploy/azure, a managed online endpoint and a deployment of it, by `az ml`."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import yaml

from starterkit.errors import KitError, UserError
from starterkit.release.deployment import Plan, Target, ask, handed_on
from starterkit.settings.layers import read_yaml

FOLDER = "deploy/azure"
ENDPOINT, DEPLOYMENT = "endpoint.yaml", "deployment.yaml"
MOST_BYTES = 10_485_760
"""That a managed endpoint hands on of a request."""
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]").fullmatch
_COUNT = re.compile(r"[1-9]\d{0,2}").fullmatch
_HINT = "See `az account show`: the subscription has to have the workspace, and you the right to do this there"
_HALF_AN_HOUR = 1800


class AzureML(Target):
    """A version is a deployment of its own: all requests go to it once it answers, and the one before stays."""

    options: ClassVar = {
        "workspace": "",
        "group": "",
        "vault": "",
        "endpoint": "starterkit-api",
        "instance": "Standard_DS2_v2",
        "count": "2",
    }

    def plan(self) -> Plan:
        endpoint, deployment = self._endpoint(), self._deployment()
        name = f"{deployment['name']} of {endpoint['name']}"
        steps = (
            f"look whether az knows you and the workspace {self.order.given['workspace']}",
            f"az ml online-endpoint create --file {ENDPOINT}, where there is none",
            f"az ml online-deployment create --file {DEPLOYMENT}; where it comes to nothing, delete what was made",
            f"az ml online-endpoint update, so that all requests go to {name}",
        )
        files = {ENDPOINT: endpoint, DEPLOYMENT: deployment}
        return Plan(steps, {name: yaml.safe_dump(text, sort_keys=False) for name, text in files.items()})

    def check(self) -> None:
        ask("az", "account", "show", hint="Log in with `az login`")
        ask("az", "extension", "show", "--name", "ml", hint="Add it: az extension add --name ml")
        self._ml("workspace", "show", "--name", self.order.given["workspace"])

    def apply(self, plan: Plan) -> str:
        endpoint, deployment = self._endpoint()["name"], self._deployment()["name"]
        named, its = ("--name", endpoint), ("--name", deployment, "--endpoint-name", endpoint)
        exists = self._has("online-endpoint", endpoint)
        if exists and self._has("online-deployment", deployment, "--endpoint-name", endpoint):
            raise KitError(f"{endpoint} has a deployment {deployment} already", "Delete it, or deploy another version")
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in plan.files.items():
                Path(scratch, name).write_text(text, "utf-8")
            try:
                if not exists:
                    self._ml("online-endpoint", "create", "--file", f"{scratch}/{ENDPOINT}")
                self._ml("online-deployment", "create", "--file", f"{scratch}/{DEPLOYMENT}")
            except BaseException:
                gone = ("online-deployment", "delete", *its) if exists else ("online-endpoint", "delete", *named)
                self._ml(*gone, "--yes")
                raise
        self._ml("online-endpoint", "update", *named, "--traffic", f"{deployment}=100")
        return f"{self.order.image} answers as {endpoint}, for {self.order.model} version {self.order.version}"

    def _has(self, kind: str, name: str, *more: str) -> bool:
        listed = json.loads(self._ml(kind, "list", *more, "--output", "json"))
        return any(one["name"] == name for one in listed)

    def _ml(self, *words: str) -> str:
        given = self.order.given
        place = ("--resource-group", given["group"])
        place += () if words[0] == "workspace" else ("--workspace-name", given["workspace"])
        return ask("az", "ml", *words, *place, hint=_HINT, seconds=_HALF_AN_HOUR)

    def _endpoint(self) -> dict[str, Any]:
        name = self.order.given["endpoint"]
        if not _NAME(name):
            raise UserError("endpoint is no name of an endpoint", "Give 3 to 32 letters, digits and hyphens")
        return {**self._read(ENDPOINT), "name": name}

    def _deployment(self) -> dict[str, Any]:
        """The user's own file with this order in it. Secrets are named, and Azure fetches them from the vault."""
        order, given = self.order, self.order.given
        if not _COUNT(given["count"]):
            raise UserError("count is no number of instances", "Give a whole number from 1 to 999")
        if not re.fullmatch(r"https://[\w-]+\.vault\.[\w.-]+", given["vault"]):
            raise UserError("vault is no address of a key vault", "Add --set vault=https://NAME.vault.azure.net")
        on, base = handed_on(order.settings, MOST_BYTES, "Azure ML"), self._read(DEPLOYMENT)
        kept = {n: f"${{{{keyvault:{given['vault']}/secrets/{n.replace('_', '-')}}}}}" for n in on.secret}
        return {
            **base,
            "name": f"version-{order.version}",
            "endpoint_name": given["endpoint"],
            "environment": {**base.get("environment", {}), "image": order.image},
            "environment_variables": {**base.get("environment_variables", {}), **on.plain, **kept},
            "instance_type": given["instance"],
            "instance_count": int(given["count"]),
            "tags": {**base.get("tags", {}), "starterkit-model": order.model, "starterkit-version": order.version},
        }

    def _read(self, name: str) -> dict[str, Any]:
        return dict(read_yaml(self.order.settings.root, f"{FOLDER}/{name}").values)
