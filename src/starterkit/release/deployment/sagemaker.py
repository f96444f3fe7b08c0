"""Amazon SageMaker: a model, an endpoint's configuration and the endpoint, by boto3."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar

from starterkit.errors import KitError, UserError, first_line
from starterkit.release.deployment import Plan, Target, handed_on

MOST_BYTES = 6_291_456
"""That it hands on of a request in real time."""
_ROLE = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+").fullmatch
_IMAGE = re.compile(
    r"\d{12}\.dkr\.ecr\.([\w-]+)\.amazonaws\.com(?:\.cn)?/([\w./-]+?)(?::([\w.-]+)|@(sha256:[0-9a-f]{64}))"
)
_COUNT = re.compile(r"[1-9]\d{0,2}").fullmatch
_SECONDS_TO_START = 300
_MODEL, _CONFIGURATION, _ENDPOINT = "model.json", "endpoint-config.json", "endpoint.json"
_HIDDEN = "(set, and not shown)"
_ROUNDS = 300_000
"""A name is no secret, and a password is one of the things that it is made of."""
_TRIES = {"Delay": 15, "MaxAttempts": 120}
"""Half an hour until the endpoint answers."""


_HINT = "CloudWatch has the container's log"
Made = dict[str, Callable[[], Any]]
"""What was made, and how it goes again."""


class SageMaker(Target):
    """A new version stands beside the one before it until it answers; what it replaces stays, for a way back."""

    options: ClassVar = {
        "role": "",
        "region": "",
        "endpoint": "starterkit-api",
        "instance": "ml.m5.large",
        "count": "1",
    }

    def plan(self) -> Plan:
        requests = self._requests(shown=True)
        endpoint, region = self.order.given["endpoint"], self.order.given["region"]
        steps = (
            f"look whether AWS knows you, the role and, in {region}, the image {self.order.image}",
            f"sagemaker create_model {requests[_MODEL]['ModelName']}",
            f"sagemaker create_endpoint_config {requests[_CONFIGURATION]['EndpointConfigName']}",
            f"sagemaker create_endpoint {endpoint}, or update_endpoint where there is one",
            f"wait until {endpoint} is in service; where it comes to nothing, delete what was made",
        )
        return Plan(steps, {name: json.dumps(request, indent=2) + "\n" for name, request in requests.items()})

    def check(self) -> None:
        if find_spec("boto3") is None:
            raise KitError("boto3 is not installed here", "Add it: make add PKG=boto3")
        given, image = self.order.given, _IMAGE.fullmatch(self.order.image)
        with told("your identity"):
            self._client("sts").get_caller_identity()
        with told(f"the role {given['role']}", unless="AccessDenied"):  # not everybody may look
            self._client("iam").get_role(RoleName=given["role"].rpartition("/")[2])
        if image:
            named = {"imageTag": image[3]} if image[3] else {"imageDigest": image[4]}
            with told(f"the image {self.order.image}"):
                account = self.order.image.partition(".")[0]
                self._client("ecr").describe_images(registryId=account, repositoryName=image[2], imageIds=[named])
        status = self._status()
        if status not in (None, "InService"):
            what = f"the endpoint {given['endpoint']} is {status}"
            hint = "Delete it first" if status == "Failed" else "Wait until it is in service"
            raise KitError(what, hint)

    def apply(self, plan: Plan) -> str:
        made: Made = {}
        try:
            self._make(made)
        except BaseException as error:
            for name, undo in reversed([*made.items()]):
                with suppress(Exception):  # what stays is told
                    undo()
                    del made[name]
            if made:
                what = f"{first_line(error)} These stand there still: {', '.join(made)}"
                raise KitError(what, "Delete them in SageMaker") from error
            raise
        where = f"{self.order.given['endpoint']} in {self.order.given['region']}"
        return f"{self.order.image} answers as {where}, for {self.order.model} version {self.order.version}"

    def _make(self, made: Made) -> None:
        """All of it; `made` is what has to go again where this raises."""
        aws, (model, configuration, endpoint) = self._client("sagemaker"), self._requests(shown=False).values()
        exists = self._status() is not None
        _make_one(made, aws.create_model, aws.delete_model, model, "ModelName")
        _make_one(made, aws.create_endpoint_config, aws.delete_endpoint_config, configuration, "EndpointConfigName")
        name = endpoint["EndpointName"]
        unused = dict(made)
        if exists:
            with told(f"the endpoint {name}"):
                aws.update_endpoint(EndpointName=name, EndpointConfigName=endpoint["EndpointConfigName"])
            made.clear()  # it goes on with these, or goes back by itself
        else:
            _make_one(made, aws.create_endpoint, aws.delete_endpoint, endpoint, "EndpointName")
        with told(f"the endpoint {name}"):
            aws.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=_TRIES)
            answers = aws.describe_endpoint(EndpointName=name)["EndpointConfigName"]
        if answers != endpoint["EndpointConfigName"]:
            made.update(unused)
            raise KitError(f"the endpoint {name} went back to what it answered with", _HINT)

    def _requests(self, *, shown: bool) -> dict[str, dict[str, Any]]:
        """The three calls; their names hold a digest of all that they say, so that one name is one content."""
        order, given = self.order, self.order.given
        self._require_form()
        on = handed_on(order.settings, MOST_BYTES, "SageMaker")
        said = json.dumps([order.image, on, dict(given)], sort_keys=True).encode()
        digest = hashlib.pbkdf2_hmac("sha256", said, b"name", _ROUNDS).hex()[:8]
        name = f"{re.sub(r'[^A-Za-z0-9]+', '-', order.model)[:40].strip('-')}-{order.version}-{digest}"
        secret = dict.fromkeys(on.secret, _HIDDEN) if shown else on.secret
        tags = [
            {"Key": "starterkit:model", "Value": order.model},
            {"Key": "starterkit:version", "Value": order.version},
        ]
        container = {"Image": order.image, "Environment": {**on.plain, **secret}}
        variant = {
            "VariantName": "champion",
            "ModelName": name,
            "InstanceType": given["instance"],
            "InitialInstanceCount": int(given["count"]),
            "ContainerStartupHealthCheckTimeoutInSeconds": _SECONDS_TO_START,
        }
        return {
            _MODEL: {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": given["role"], "Tags": tags},
            _CONFIGURATION: {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": tags},
            _ENDPOINT: {"EndpointName": given["endpoint"], "EndpointConfigName": name, "Tags": tags},
        }

    def _require_form(self) -> None:
        given, image = self.order.given, _IMAGE.fullmatch(self.order.image)
        if not _ROLE(given["role"]):
            raise UserError("role is no ARN of a role", "Add --set role=arn:aws:iam::ACCOUNT:role/NAME")
        if image is None or image[1] != given["region"]:
            what = f"SageMaker takes images of Amazon ECR in its own region alone, and {self.order.image} is not there"
            hint = f"Push it there, and name it ACCOUNT.dkr.ecr.{given['region']}.amazonaws.com/NAME:TAG"
            raise UserError(what, hint)
        if not re.fullmatch(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,62}", given["endpoint"]):
            raise UserError("endpoint is no name of an endpoint", "Give at most 63 letters, digits and hyphens")
        if not _COUNT(given["count"]):
            raise UserError("count is no number of instances", "Give a whole number from 1 to 999")

    def _status(self) -> str | None:
        """Of the endpoint; None where there is none."""
        with told(f"the endpoint {self.order.given['endpoint']}", unless="Could not find"):
            return self._client("sagemaker").describe_endpoint(EndpointName=self.order.given["endpoint"])[
                "EndpointStatus"
            ]
        return None

    def _client(self, service: str) -> Any:
        import boto3

        with told("a client"):
            return boto3.client(service, region_name=self.order.given["region"])


def _make_one(
    made: Made, create: Callable[..., Any], delete: Callable[..., Any], request: dict[str, Any], key: str
) -> None:
    with told(f"{key} {request[key]}", unless="already existing"):  # of the same content: its name holds the digest
        create(**request)
        made[f"{key} {request[key]}"] = partial(delete, **{key: request[key]})


@contextmanager
def told(what: str, unless: str = "") -> Iterator[None]:
    """AWS's refusals in one line; one that says `unless` is none."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, WaiterError

    try:
        yield
    except NoCredentialsError:
        raise KitError("there are no credentials for AWS", "Run `aws configure`, or set AWS_PROFILE") from None
    except ClientError as error:
        if not (unless and unless in str(error)):
            raise KitError(
                f"AWS refuses {what}: {first_line(error)}", "See which rights and names it asks for"
            ) from None
    except WaiterError as error:
        reason = error.last_response.get("FailureReason", "") if error.last_response else ""
        raise KitError(f"{what} does not come into service: {reason or first_line(error)}", _HINT) from None
    except BotoCoreError as error:
        raise KitError(
            f"AWS cannot be asked for {what}: {first_line(error)}", "See the region and the network"
        ) from None
