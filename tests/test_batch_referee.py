"""Microsoft's SDK for batch endpoints, unmodified, against the local workspace over TLS: the referee of its v2 part.

azure-core sends no token over plain HTTP, so the workspace serves with a certificate of an authority of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from local.process import Child
from local.workspace.seed import BATCH_ENDPOINT, PIPELINE_IDS
from tests.environments import python_of
from tests.fixtures_workspace import ROOT, LocalWorkspace
from tests.stacks import INCOME

CONFORMANCE = Path(__file__).parent / "conformance"


@pytest.fixture(scope="module")
def seen(storage: str, tmp_path_factory: pytest.TempPathFactory, workspace_process: LocalWorkspace) -> dict[str, Any]:
    """What the SDK saw, and what the workspace has received."""
    python = python_of(CONFORMANCE / "requirements.txt")
    folder = tmp_path_factory.mktemp("tls")
    authority, certificate, root = trustme.CA(), folder / "server.pem", folder / "authority.pem"
    certificate.write_bytes(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
    root.write_bytes(authority.cert_pem.bytes())
    workspace_process.upload("income/us/adult.csv", INCOME)
    log = folder / "workspace.log"
    command = [sys.executable, "-m", "local.workspace", "--port", "0", "--storage", storage]
    with Child("workspace", [*command, "--certificate", str(certificate)], log=log, cwd=ROOT) as child:
        child.wait_until(lambda: "workspace ready " in log.read_text())
        url = log.read_text().partition("workspace ready ")[2].split()[0]
        control = f"{url}/_control"
        info = requests.get(f"{control}/info", verify=str(root), timeout=30).json()
        identity = {"IDENTITY_ENDPOINT": info["identity_endpoint"], "IDENTITY_HEADER": info["identity_header"]}
        trusted = {"REQUESTS_CA_BUNDLE": str(root), "SSL_CERT_FILE": str(root)}
        done = subprocess.run(
            [str(python), str(CONFORMANCE / "batch.py"), url],
            env={**os.environ, **identity, **trusted},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        received = requests.get(f"{control}/runs", verify=str(root), timeout=30).json()
    return {**json.loads(done.stdout), "received": received, "url": url}


def test_unmodified_sdk_works_against_batch_endpoints(seen: dict[str, Any]) -> None:
    """Reading, a pinned invocation, the job's way to its end, lists, cancelling and refusals come out as with Azure."""
    scoring = f"{seen['url']}/batch/{BATCH_ENDPOINT}/jobs"
    assert seen["endpoint"] == [BATCH_ENDPOINT, scoring, "income-0"]
    assert (seen["endpoints"], seen["deployments"]) == ([BATCH_ENDPOINT], ["income-0", "income-1"])
    assert seen["deployment"][:2] == ["income-1", BATCH_ENDPOINT]
    assert seen["deployment"][2]["deployment_configuration_type"] == "PipelineComponent"
    assert seen["invoked"] == "mine-1"
    assert seen["job"][:3] == ["mine-1", "Completed", "income-retrain"]
    assert seen["listed"] == seen["jobs"] == sorted(["mine-1", seen["default"]])
    assert seen["canceled"] == "Canceled"
    assert seen["no_deployment"][0] == "ValidationException"
    assert (seen["no_input"][0], seen["no_endpoint"][0], seen["no_job"][0]) == (400, 404, 404)


def test_what_the_sdk_sends_for_an_invocation(seen: dict[str, Any]) -> None:
    """What our own client is compared with: the pin is a header, literals keep their types, the name is a wish."""
    first, _ = seen["received"]
    assert (first["version"], first["pipeline_id"], first["status"]) == ("income-1", PIPELINE_IDS[1], "Finished")
    assert first["headers"]["azureml-model-deployment"] == "income-1"
    assert first["headers"]["content-type"] == "application/json"
    assert "repeatability_request-id" in first["headers"]
    assert first["body"] == {
        "properties": {
            "inputData": {
                "input_data": {
                    "jobInputType": "UriFile",
                    "uri": "azureml://datastores/training/paths/income/us/adult.csv",
                },
                "test_fraction": {"jobInputType": "Literal", "value": 0.3},
                "seed": {"jobInputType": "Literal", "value": 7},
                "country": {"jobInputType": "Literal", "value": "us"},
            },
            "name": "mine-1",
            "properties": {"experimentName": "income-retrain"},
        }
    }


def test_sdk_pins_what_nobody_has_pinned(seen: dict[str, Any]) -> None:
    """Its second invocation named no deployment, and went to the one of the first: its default headers are shared.

    A reason more for sending the pin with each request. When this fails the SDK has mended it.
    """
    _, second = seen["received"]
    assert second["headers"]["azureml-model-deployment"] == "income-1"
