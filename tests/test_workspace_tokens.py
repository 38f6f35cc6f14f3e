"""The managed identity of the local workspace, through the unmodified azure-identity, and the check of its tokens."""

import time

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential, ManagedIdentityCredential

from tests.fixtures_workspace import LocalWorkspace
from tests.test_workspace_submit import BODY, BY_ID

ARM = "https://management.azure.com/.default"
ML = "https://ml.azure.com/.default"


@pytest.fixture
def _environment(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What App Service and Functions tell an app about its identity."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.info["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", workspace.info["identity_header"])


def get(workspace: LocalWorkspace, url: str, authorization: str | None) -> requests.Response:
    """GET with this Authorization header, or none."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    return workspace.session.get(url, headers=headers, timeout=9)


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("kind", [ManagedIdentityCredential, DefaultAzureCredential])
def test_azure_identity_gets_a_token_that_is_accepted(
    workspace: LocalWorkspace, kind: type[ManagedIdentityCredential | DefaultAzureCredential]
) -> None:
    """The credential takes the endpoint for App Service's, and the pipelines service takes its token."""
    with kind() as credential:
        token = credential.get_token(ARM).token
    assert get(workspace, f"{workspace.pipelines}/PipelineEndpoints", f"Bearer {token}").status_code == 200
    assert get(workspace, f"{workspace.history}/runs/unknown", f"Bearer {token}").status_code == 404


@pytest.mark.usefixtures("_environment")
def test_wrong_identity_header(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential is refused."""
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises((ClientAuthenticationError, CredentialUnavailableError)),
    ):
        credential.get_token(ARM)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic abc", "Bearer abc.def.ghi", "Bearer \u00e9"])
def test_missing_or_unknown_token(workspace: LocalWorkspace, authorization: str | None) -> None:
    """Each service answers 401 in its own form."""
    answer = get(workspace, f"{workspace.pipelines}/PipelineEndpoints", authorization)
    assert answer.status_code == 401
    assert answer.json()["Error"]["Code"] == "Unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = get(workspace, f"{workspace.history}/runs/unknown", authorization)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")


def test_token_without_a_signature(workspace: LocalWorkspace) -> None:
    """A token that says `alg: none` is refused, whatever it claims."""
    token = jwt.encode({"aud": "https://management.azure.com", "exp": 2**33}, key="", algorithm="none")
    assert get(workspace, f"{workspace.pipelines}/PipelineEndpoints", f"Bearer {token}").status_code == 401


def test_expired_token(workspace: LocalWorkspace) -> None:
    """It is refused, and the message says that it has expired."""
    workspace.control("POST", "settings", {"token_lifetime_s": 1})
    answer = workspace.session.get(
        workspace.info["identity_endpoint"],
        params={"api-version": "2019-08-01", "resource": "https://management.azure.com/"},
        headers={"X-IDENTITY-HEADER": workspace.info["identity_header"]},
        timeout=9,
    ).json()
    url = f"{workspace.pipelines}/PipelineEndpoints"
    deadline = time.monotonic() + 10
    while (refused := get(workspace, url, f"Bearer {answer['access_token']}")).ok and time.monotonic() < deadline:
        time.sleep(0.02)
    assert refused.status_code == 401
    assert "expired" in refused.json()["Error"]["Message"]


def test_audiences(workspace: LocalWorkspace) -> None:
    """The pipelines service takes ml.azure.com only by a switch, run history always; other audiences nobody."""
    token = workspace.token("https://ml.azure.com")
    pipelines, history = f"{workspace.pipelines}/PipelineEndpoints", f"{workspace.history}/runs/unknown"
    assert get(workspace, pipelines, f"Bearer {token}").status_code == 401
    assert get(workspace, history, f"Bearer {token}").status_code == 404
    workspace.control("POST", "settings", {"accept_ml_audience": True})
    assert get(workspace, pipelines, f"Bearer {token}").status_code == 200
    other = workspace.token("https://storage.azure.com")
    assert get(workspace, pipelines, f"Bearer {other}").status_code == 401
    assert get(workspace, history, f"Bearer {other}").status_code == 401


@pytest.mark.parametrize("change", [{"api-version": "2018-02-01"}, {"resource": ""}, {"client_id": "someone"}])
def test_malformed_token_request(workspace: LocalWorkspace, change: dict[str, str]) -> None:
    """It is refused with 400 and the name of the parameter, in App Service's form."""
    answer = workspace.session.get(
        workspace.info["identity_endpoint"],
        params={"api-version": "2019-08-01", "resource": "https://management.azure.com", **change},
        headers={"X-IDENTITY-HEADER": workspace.info["identity_header"]},
        timeout=9,
    )
    assert answer.json()["statusCode"] == answer.status_code == 400
    assert next(iter(change)) in answer.json()["message"]


def test_refused_submission_is_not_accepted(workspace: LocalWorkspace) -> None:
    """A submission without a token leaves nothing behind."""
    requests.post(workspace.pipelines + BY_ID, json=BODY, timeout=9)
    assert workspace.control("GET", "runs") == []
