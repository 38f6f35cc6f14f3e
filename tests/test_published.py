"""Submitting to the v1 API, against the local workspace over real HTTP: what is sent, and what each answer means."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import msgspec
import pytest
import requests

from shared import identity
from shared.errors import EndpointError
from shared.identity import Tokens
from shared.pipelines import wire
from shared.pipelines.address import Address
from shared.pipelines.base import Answer, Limits, NotAccepted, Phase, Refused, Submitted, Unknown
from shared.pipelines.calls import ATTEMPTS, new_session, retry_after
from shared.pipelines.published import PublishedEndpoint
from shared.pipelines.target import Target
from shared.pipelines.wire import submission
from shared.rules.decision import DataPath, RetrainRequest
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENDPOINT_URL, retrain_request
from tests.waiting import until

AUDIENCE = "https://management.azure.com"
LIMITS = Limits.within(timedelta(seconds=10))


@pytest.fixture
def endpoint(workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedEndpoint]:
    """The local workspace's endpoint `income`, with tokens from its managed identity; runs are held."""
    workspace.control("POST", "settings", {"engine": "hold"})
    monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.info["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", workspace.info["identity_header"])
    identity.credential.cache_clear()
    with new_session() as session:
        yield PublishedEndpoint(Address.parse(workspace.endpoint["url"]), Tokens(AUDIENCE), session, LIMITS)
    identity.credential.cache_clear()


def target(endpoint: PublishedEndpoint, version: str = "1") -> Target:
    """Return a version of an endpoint, and the experiment that the shipped retrain.toml names."""
    return Target(address=endpoint.address, version=version, experiment="income-retrain")


def submit(endpoint: PublishedEndpoint, request: RetrainRequest | None = None, version: str = "1") -> Answer:
    """Submit a request as an arrival's own invocation does."""
    return endpoint.submit(request or retrain_request(), target(endpoint, version))


def with_fault(workspace: LocalWorkspace, endpoint: PublishedEndpoint, **fault: Any) -> Answer:
    """Return what a submission comes to when the workspace answers it with a fault."""
    workspace.control("POST", "faults", [{"on": "submit", **fault}])
    return submit(endpoint)


def test_submission_goes_to_the_pinned_version_with_the_path_and_the_key(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """The version stands in the path and in the query; the default version is another one."""
    request = retrain_request(path="income/us/ü #1%20.csv")
    answer = submit(endpoint, request)
    [run] = workspace.control("GET", "runs")
    assert isinstance(answer, Submitted)
    assert answer.run_id == run["run_id"]
    assert run["url"].endswith("/1?pipelineVersion=1")
    assert run["version"] == "1" != workspace.endpoint["default_version"]
    sent = run["body"]
    assert sent["DataPathAssignments"] == {
        "input_data": {"DataStoreName": "training", "RelativePath": "income/us/ü #1%20.csv"}
    }
    assert sent["ExperimentName"] == "income-retrain"
    assert sent["tags"]["retrain.key"] == sent["Properties"]["retrain.key"] == request.key
    assert sent["Properties"]["retrain.rule"] == request.rule


def test_published_pipeline_is_submitted_by_its_id(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Its id is the pin: no version anywhere in the URL."""
    pipeline = workspace.call("GET", f"/PipelineEndpoints/Id/{workspace.endpoint['id']}").json()["PipelineVersionList"][
        0
    ]
    url = f"{workspace.pipelines}/PipelineRuns/PipelineSubmit/{pipeline['PipelineId']}"
    with new_session() as session:
        published = PublishedEndpoint(Address.parse(url), endpoint.tokens, session, LIMITS)
        answer = submit(published, version=pipeline["PipelineId"])
    [run] = workspace.control("GET", "runs")
    assert isinstance(answer, Submitted)
    assert run["url"].endswith(f"/PipelineSubmit/{pipeline['PipelineId']}")


def test_assignments_of_each_kind() -> None:
    """A DataPath, a dataset and a string parameter each have a map of their own; all parameters are strings."""

    def assigned(assignment: Any) -> dict[str, Any]:
        request = retrain_request()
        path = DataPath(datastore="d", path="p/a.csv", parameter="in", assignment=assignment)
        return submission(msgspec.structs.replace(request, data_path=path, parameters={"x": "1"}), "e")

    value = {"DataStoreName": "d", "RelativePath": "p/a.csv"}
    assert assigned("data_path")["DataPathAssignments"] == {"in": value}
    assert assigned("dataset")["DataSetDefinitionValueAssignments"] == {"in": {"LiteralValue": value}}
    assert assigned("string")["ParameterAssignments"] == {"x": "1", "in": "p/a.csv"}
    assert assigned("data_path")["ParameterAssignments"] == {"x": "1"}


def test_further_data_paths_experiment_tags_and_description_of_the_request() -> None:
    """Each path in its own map; the rule's words never win over where the run comes from."""
    request = msgspec.structs.replace(
        retrain_request(),
        data_paths=(
            DataPath(datastore="lake", path="r.csv", parameter="rates"),
            DataPath(datastore="lake", path="old", parameter="old", assignment="dataset"),
            DataPath(datastore="lake", path="s.csv", parameter="text", assignment="string"),
        ),
        tags={"country": "us", "retrain.key": "forged"},
        description="words",
    )
    sent = submission(request, "mine")
    lake = {"DataStoreName": "lake"}
    assert sent["DataPathAssignments"]["rates"] == {**lake, "RelativePath": "r.csv"}
    assert sent["DataPathAssignments"]["input_data"]["RelativePath"] == request.data_path.path
    assert sent["DataSetDefinitionValueAssignments"] == {"old": {"LiteralValue": {**lake, "RelativePath": "old"}}}
    assert sent["ParameterAssignments"] == {"text": "s.csv"}
    assert (sent["ExperimentName"], sent["Description"]) == ("mine", "words")
    assert sent["tags"] == {**sent["Properties"], "country": "us"}
    assert sent["Properties"]["retrain.key"] == request.key


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_no_of_the_endpoint_is_refused_with_its_words(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, status: int
) -> None:
    """It would say no again: nothing is repeated, and the service's code and message are kept."""
    answer = with_fault(workspace, endpoint, kind="status", status=status)
    assert isinstance(answer, Refused)
    assert answer.reason.startswith(str(status))
    assert ": " in answer.reason


@pytest.mark.parametrize("status", [403, 404, 405, 410, 423, 451, 499])
def test_no_that_is_not_about_the_request(workspace: LocalWorkspace, endpoint: PublishedEndpoint, status: int) -> None:
    """No role yet, not there, locked: not accepted, in the service's words, and not asked again within the call."""
    answer = with_fault(workspace, endpoint, kind="status", status=status)
    assert isinstance(answer, NotAccepted)
    assert answer.reason.startswith(str(status))
    assert (answer.soon, answer.blocked) == (False, True)
    assert workspace.control("GET", "requests")["submit"] == 1


def test_timer_does_not_repeat_within_a_call(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """It comes again in a minute anyway."""
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 0}])
    answer = endpoint.submit(retrain_request(), target(endpoint), patient=False)
    assert isinstance(answer, NotAccepted)
    assert workspace.control("GET", "requests")["submit"] == 1


def test_unknown_version_is_not_there(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """A version that the endpoint does not have never becomes the default one."""
    answer = submit(endpoint, version="99")
    assert isinstance(answer, NotAccepted)
    assert "99" in answer.reason
    assert workspace.control("GET", "runs") == []


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_server_errors_leave_the_outcome_open(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, status: int
) -> None:
    """The run may exist although the answer says otherwise."""
    assert isinstance(with_fault(workspace, endpoint, kind="status", status=status), Unknown)


@pytest.mark.parametrize("kind", ["drop", "accept_then_drop"])
def test_connection_that_breaks_leaves_the_outcome_open(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, kind: str
) -> None:
    """From here both look the same, although one run exists and the other does not."""
    assert isinstance(with_fault(workspace, endpoint, kind=kind), Unknown)
    assert len(workspace.control("GET", "runs")) == (kind == "accept_then_drop")


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"Id": null}', '{"Id": ""}', '{"Id": 3}'])
def test_acceptance_without_a_run_id_leaves_the_outcome_open(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, text: str
) -> None:
    """200 says that something was accepted, but not what."""
    answer = with_fault(workspace, endpoint, kind="status", status=200, body=text)
    assert isinstance(answer, Unknown)
    assert "without a run id" in answer.reason


def test_throttling_with_a_short_pause_is_sent_again_within_the_call(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """429 says surely not, Retry-After says when: the pause fits, so the same call gets its run."""
    answer = with_fault(workspace, endpoint, kind="status", status=429, retry_after=0, times=2)
    assert isinstance(answer, Submitted)
    assert len(workspace.control("GET", "runs")) == 1


def test_throttling_with_a_long_pause_is_left_to_the_timer(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """Nobody waits ten minutes inside a call; the answer carries the pause."""
    answer = with_fault(workspace, endpoint, kind="status", status=429, retry_after=600)
    assert isinstance(answer, NotAccepted)
    assert answer.retry_after == timedelta(minutes=10)
    assert workspace.control("GET", "faults") == []
    assert workspace.control("GET", "runs") == []


def test_throttling_without_end_is_not_accepted(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """A bounded number of sendings, and then the timer's turn."""
    answer = with_fault(workspace, endpoint, kind="status", status=429, retry_after=0, times=50)
    assert isinstance(answer, NotAccepted)
    assert workspace.control("GET", "requests")["submit"] == ATTEMPTS == 4


def test_token_that_is_no_longer_accepted_is_renewed_once(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """401 once: a fresh token, and the run is there."""
    endpoint.tokens.get()
    before = workspace.control("GET", "requests")["token"]
    assert isinstance(with_fault(workspace, endpoint, kind="status", status=401), Submitted)
    assert workspace.control("GET", "requests")["token"] == before + 1


def test_fresh_token_that_is_not_accepted_either(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Then it is not the token's age."""
    answer = with_fault(workspace, endpoint, kind="status", status=401, times=2)
    assert isinstance(answer, NotAccepted)
    assert workspace.control("GET", "requests")["submit"] == 2


def test_submission_follows_no_redirect(scripted: PublishedEndpoint) -> None:
    """Its token would go there."""
    Scripted.answers = {"pipelineVersion=1": (307, {}), "/elsewhere": (200, {"Id": "r"})}
    Scripted.asked.clear()
    assert isinstance(submit(scripted), Unknown)
    assert len(Scripted.asked) == 1


def test_redirect_is_refused(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """A bearer token goes nowhere else; what a redirect means for the run is not known."""
    assert isinstance(with_fault(workspace, endpoint, kind="status", status=307), Unknown)


def test_run_is_read_back(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Its status, our key, and the published pipeline that the pinned version stands for."""
    request = retrain_request()
    answer = submit(endpoint, request)
    assert isinstance(answer, Submitted)
    run = endpoint.run(answer.run_id)
    assert (run.phase, run.word, run.key) == (Phase.PENDING, "NotStarted", request.key)
    assert run.pipeline_id == endpoint.pinned("1") != endpoint.pinned("0")
    assert endpoint.runs("1") == [run]
    assert endpoint.runs("0") == []


def test_key_is_found_in_run_history(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Before the first run there is no experiment to look in: found nothing, and no error."""
    request = retrain_request()
    assert endpoint.search(request.key, "income-retrain") is None
    answer = submit(endpoint, request)
    assert isinstance(answer, Submitted)
    found = endpoint.search(request.key, "income-retrain")
    assert found is not None
    assert found.run_id == answer.run_id
    assert endpoint.search(retrain_request().key, "income-retrain") is None


def test_reason_of_a_failed_run(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Run history tells it."""
    answer = submit(endpoint)
    assert isinstance(answer, Submitted)
    workspace.control("POST", f"runs/{answer.run_id}/status", {"status": "Failed", "error": "no rows"})
    assert endpoint.run(answer.run_id).phase == Phase.FAILED
    assert "no rows" in endpoint.error_of(answer.run_id)


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}])
def test_service_that_cannot_be_read_is_an_endpoint_error(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, fault: dict[str, Any]
) -> None:
    """It says what was read and what came back."""
    workspace.control("POST", "faults", [{"on": "status", **fault}])
    with pytest.raises(EndpointError, match=r"GET http.*/PipelineRuns/none"):
        endpoint.run("none")


@pytest.mark.parametrize("status", [0, "NotStarted", None, 7, "Queued", "Preparing"])
def test_statuses_that_mean_not_yet(status: object) -> None:
    """Numbers, words, none at all, and such as nobody has heard of: none of them is an end."""
    content = msgspec.json.encode({"Id": "r", "Status": {"StatusCode": status}, "Unheard": {"of": 1}})
    run = wire.run(content)
    assert run is not None
    assert run.told("page").phase == Phase.PENDING


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (1, "running"),
        (2, "failed"),
        (3, "finished"),
        (4, "canceled"),
        ("Finished", "finished"),
        ("Completed", "finished"),
    ],
)
def test_statuses_by_number_and_by_word(status: object, phase: str) -> None:
    """The service is moving from the one to the other."""
    run = wire.run(msgspec.json.encode({"Id": "r", "Status": {"StatusCode": status}, "tags": {"retrain.key": "k"}}))
    assert run is not None
    assert run.told("page").phase == phase
    assert run.told("page").key == "k"


def test_limits_leave_a_fifth_of_the_grace() -> None:
    """After the grace period nobody may still be sending, or an absent run could not be called absent."""
    for grace in (timedelta(seconds=5), timedelta(minutes=1), timedelta(hours=1)):
        limits = Limits.within(grace)
        longest = limits.begin_s + limits.connect_s + limits.read_s
        assert limits.retry_s < limits.begin_s
        assert longest <= grace.total_seconds() * 0.8 + 1e-9


def test_nobody_at_the_address_is_not_accepted(endpoint: PublishedEndpoint) -> None:
    """Nothing was sent, so it may be sent again."""
    address = Address.parse(ENDPOINT_URL.replace(":7081", ":9"))
    with new_session() as session:
        answer = submit(PublishedEndpoint(address, endpoint.tokens, session, LIMITS))
    assert isinstance(answer, NotAccepted)
    assert answer.reason == "No connection to http://127.0.0.1:9: [Errno 111] Connection refused"
    assert answer.soon
    with new_session() as session, pytest.raises(EndpointError, match="no connection: "):
        PublishedEndpoint(address, endpoint.tokens, session, LIMITS).run("r")


def test_worker_that_stood_still_says_nothing_of_the_endpoint(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """It sends nothing, and the endpoint is not to blame."""
    answer = endpoint.submit(retrain_request(), target(endpoint), lambda: False)
    assert isinstance(answer, NotAccepted)
    assert not answer.blocked
    assert workspace.control("GET", "requests")["submit"] == 0


def test_answer_that_does_not_come_leaves_the_outcome_open(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """The run is there all the same."""
    impatient = Limits(begin_s=5, retry_s=1, connect_s=1, read_s=0.2)
    with new_session() as session:
        hasty = PublishedEndpoint(endpoint.address, endpoint.tokens, session, impatient)
        assert isinstance(with_fault(workspace, hasty, kind="delay", delay_s=1), Unknown)
    assert len(until(lambda: workspace.control("GET", "runs"))) == 1


def test_page_of_the_run_is_the_one_that_the_service_names(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint
) -> None:
    """One is made up only where it names none."""
    body = {"Id": "r", "RunUrl": "https://studio.example/r"}
    answer = with_fault(workspace, endpoint, kind="status", status=200, body=body)
    assert isinstance(answer, Submitted)
    assert answer.run_url == "https://studio.example/r"


def test_endpoint_is_described_by_its_own_name(endpoint: PublishedEndpoint) -> None:
    """Not by that of the pipeline behind the version."""
    assert endpoint.described("1").name == "income"
    assert endpoint.described("1").pipeline_id == endpoint.pinned("1")
    pipeline_id = endpoint.pinned("1")
    url = endpoint.address.api(f"PipelineRuns/PipelineSubmit/{pipeline_id}")
    with new_session() as session:
        published = PublishedEndpoint(Address.parse(url), endpoint.tokens, session, LIMITS)
        assert published.described(pipeline_id).name == "income-1"
        assert published.pinned(pipeline_id) == pipeline_id


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_search_that_is_refused_is_no_proof_of_absence(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, status: int
) -> None:
    """Only 404 says that there is no such experiment yet."""
    workspace.control("POST", "faults", [{"on": "list", "kind": "status", "status": status}])
    with pytest.raises(EndpointError, match=str(status)):
        endpoint.search("k", "income-retrain")


def test_identity_that_gives_no_token_is_not_accepted(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent; the reason says what to do and holds no secret."""
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    monkeypatch.setenv("PATH", "")  # no `az` either
    identity.credential.cache_clear()
    answer = submit(endpoint)
    assert isinstance(answer, NotAccepted)
    assert "No token for https://management.azure.com/.default" in answer.reason
    assert "role on the workspace" in answer.reason
    assert workspace.control("GET", "runs") == []


def test_token_is_asked_for_once(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Two submissions, one token; a fault on the second token would show."""
    assert isinstance(submit(endpoint), Submitted)
    workspace.control("POST", "faults", [{"on": "token", "kind": "status", "status": 500, "times": 9}])
    assert isinstance(submit(endpoint), Submitted)


def test_token_is_in_no_answer(workspace: LocalWorkspace, endpoint: PublishedEndpoint) -> None:
    """Whatever goes wrong, reasons end up in the ledger and in logs."""
    token = endpoint.tokens.get()
    for fault in ({"kind": "drop"}, {"kind": "status", "status": 400}, {"kind": "status", "status": 503}):
        assert token not in str(with_fault(workspace, endpoint, **fault))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[("0", 0), ("30", 30), ("Sun, 01 Nov 2026 12:00:10 GMT", 10), ("Sun, 01 Nov 2026 11:00:00 GMT", 0)],
        *[("Sun, 01 Nov 2026 12:00:10 -0000", 10), ("Sun, 01 Nov 2026 13:00:10 +0100", 10)],
    ],
)
def test_retry_after_in_seconds_and_as_a_date(value: str, seconds: int) -> None:
    """Both forms of RFC 9110; a date that is past means now."""
    response = requests.Response()
    response.headers["Retry-After"] = value
    assert retry_after(response, datetime(2026, 11, 1, 12, tzinfo=UTC)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "Sun, 99 Nov 2026"])
def test_retry_after_that_says_nothing(value: str) -> None:
    """Nonsense is as if it were not there."""
    response = requests.Response()
    response.headers["Retry-After"] = value
    assert retry_after(response) is None


def test_studio_address_where_the_service_gives_none() -> None:
    """Every run has a page for people, built from the workspace in the endpoint's address."""
    url = Address.parse(ENDPOINT_URL).studio_url("run-1")
    assert url.startswith("https://ml.azure.com/runs/run-1?wsid=/subscriptions/s/resourceGroups/g/")


def test_request_is_typed_data() -> None:
    """A request survives the ledger: encoded and decoded it is the same."""
    request = retrain_request()
    assert msgspec.json.decode(msgspec.json.encode(request), type=RetrainRequest) == request


# Exact edges of reading


@pytest.mark.parametrize(("times", "asked"), [(1, 2), (2, 2)])
def test_read_that_is_answered_401(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, times: int, asked: int
) -> None:
    """A fresh token, once; then it is not the token's age."""
    answer = submit(endpoint)
    assert isinstance(answer, Submitted)
    workspace.control("POST", "faults", [{"on": "status", "kind": "status", "status": 401, "times": times}])
    before = workspace.control("GET", "requests")
    if times == 1:
        assert endpoint.run(answer.run_id).run_id == answer.run_id
    else:
        with pytest.raises(EndpointError, match="401"):
            endpoint.run(answer.run_id)
    after = workspace.control("GET", "requests")
    assert (after["status"] - before["status"], after["token"] - before["token"]) == (asked, 1)


def test_session_reads_no_netrc_and_sends_nothing_twice(
    workspace: LocalWorkspace, endpoint: PublishedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .netrc would take the token's place; a repetition by the library would be a second submission."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert isinstance(submit(endpoint), Submitted)
    assert isinstance(endpoint.runs("1"), list)
    for on, read in (("status", lambda: endpoint.run("none")), ("list", lambda: endpoint.runs("1"))):
        before = workspace.control("GET", "requests")[on]
        workspace.control("POST", "faults", [{"on": on, "kind": "drop"}])
        with pytest.raises(EndpointError):
            read()
        assert workspace.control("GET", "requests")[on] - before == 1
    before = workspace.control("GET", "requests")["submit"]
    assert isinstance(with_fault(workspace, endpoint, kind="drop"), Unknown)
    assert workspace.control("GET", "requests")["submit"] - before == 1


@pytest.mark.parametrize(("room_s", "sent"), [(1.0, 1), (1.001, 2)])
def test_pause_that_just_fits(workspace: LocalWorkspace, endpoint: PublishedEndpoint, room_s: float, sent: int) -> None:
    """A pause as long as all the time there is leaves none to send in."""
    limits = msgspec.structs.replace(LIMITS, retry_s=room_s)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 429, "retry_after": 1}])
    with new_session() as session:
        submit(PublishedEndpoint(endpoint.address, endpoint.tokens, session, limits))
    assert workspace.control("GET", "requests")["submit"] == sent


@pytest.mark.parametrize(("value", "seconds"), [(86_400, 86_400), (86_401, 86_400), (10**30, 86_400)])
def test_retry_after_of_more_than_a_day(value: int, seconds: int) -> None:
    """At most a day; a date as well."""
    response = requests.Response()
    response.headers["Retry-After"] = str(value)
    assert retry_after(response) == timedelta(seconds=seconds)


class Scripted(BaseHTTPRequestHandler):
    """A service that answers each address with what the test says."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer the first whose address ends so."""
        found: tuple[int, Any] = next(
            (answer for end, answer in self.answers.items() if self.path.endswith(end)), (404, {})
        )
        content = msgspec.json.encode(found[1])
        self.asked.append(self.path)
        self.send_response(found[0])
        if found[0] in (302, 307):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Answer it likewise."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def scripted(endpoint: PublishedEndpoint) -> Iterator[PublishedEndpoint]:
    """The client, on a service that answers as scripted."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server, new_session() as session:
        Thread(target=server.serve_forever, daemon=True).start()
        address = Address.parse(ENDPOINT_URL.replace(":7081", f":{server.server_port}"))
        yield PublishedEndpoint(address, endpoint.tokens, session, LIMITS)
        server.shutdown()


def test_endpoint_that_tells_nothing_of_itself(scripted: PublishedEndpoint) -> None:
    """No versions, no name, no status: active, as far as is known, and without the pinned version."""
    Scripted.answers = {"/PipelineEndpoints/Id/e": (200, {})}
    told = scripted.described("1")
    assert (told.name, told.status, told.versions, told.pipeline_id, told.inputs) == ("", "Active", (), None, ())
    with pytest.raises(EndpointError, match="has no version '1'"):
        scripted.pinned("1")


def test_pipeline_without_a_graph(scripted: PublishedEndpoint) -> None:
    """Then its parameters cannot be told, and that is said."""
    versions = {"PipelineVersionList": [{"Version": "1", "PipelineId": "p"}]}
    Scripted.answers = {"/PipelineEndpoints/Id/e": (200, versions), "/Pipelines/p": (200, {"Name": "x"})}
    with pytest.raises(EndpointError, match="names no graph"):
        scripted.described("1")
    assert scripted.pinned("1") == "p"


def test_datastore_that_tells_nothing_of_itself(scripted: PublishedEndpoint) -> None:
    """Neither kind nor place; one that is not there is none; another refusal is an error."""
    Scripted.answers = {
        "/datastores/a": (200, {}),
        "/datastores/b": (404, {}),
        "/datastores/c": (403, {}),
        "/datastores/d": (503, {}),
    }
    told = scripted.registered("a")
    assert told is not None
    assert (told.kind, told.account, told.container) == ("", None, None)
    assert scripted.registered("b") is None
    for name, status in (("c", "403"), ("d", "503")):
        with pytest.raises(EndpointError, match=status):
            scripted.registered(name)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("1970-12-31T23:59:59.9999999Z", False),
        ("1971-01-01T00:00:00.0000000Z", True),
        ("0001-01-01T00:00:00", False),
        ("2026-11-01T12:00:00", True),
        ("soon", False),
        ("", False),
        (None, False),
    ],
)
def test_first_date_that_is_one(text: str | None, known: bool) -> None:
    """1970 and before stand for none; a time without a zone is in UTC."""
    run = wire.run(msgspec.json.encode({"Id": "r", "Status": {"CreationTime": text, "EndTime": text}}))
    assert run is not None
    told = run.told("page")
    assert ((told.started_at is not None), (told.ended_at is not None)) == (known, known)
    assert told.started_at is None or told.started_at.tzinfo is not None


@pytest.mark.parametrize(("code", "word"), [(4, "Canceled"), (5, "5"), (-1, "-1")])
def test_status_numbers_at_the_edge(code: int, word: str) -> None:
    """The last that is known, and what nobody has heard of."""
    run = wire.run(msgspec.json.encode({"Id": "r", "Status": {"StatusCode": code}}))
    assert run is not None
    assert run.told("page").word == word


@pytest.mark.parametrize(
    ("code", "word"), [(2, "Disabled"), ("2", "Disabled"), (3, "3"), ("Odd", "Odd"), (None, "Active")]
)
def test_entity_status_at_the_edge(code: object, word: str) -> None:
    """The same of endpoints and pipelines."""
    assert wire.entity(msgspec.json.encode({"EntityStatus": code})).status == word


def test_description_and_words_of_a_fault_at_their_longest() -> None:
    """What the service takes is sent whole; what it says is kept in short."""
    request = msgspec.structs.replace(retrain_request(), description="x" * 5001)
    assert len(submission(request, "e")["Description"]) == 5000
    response = requests.Response()
    response.status_code, response._content = 400, msgspec.json.encode({"error": {"code": "c", "message": "m" * 2000}})
    assert len(wire.error(response)) == 1000


def test_parameters_as_the_service_lists_them() -> None:
    """Each list is a map of its own; what has a default or is optional is not required; absent lists are empty."""
    default = {"DataStoreName": "lake", "RelativePath": "x"}
    found = wire.inputs(
        msgspec.json.encode(
            {
                "Parameters": [
                    {"Name": "a", "Type": 0},
                    {"Name": "b", "Type": "String", "DefaultValue": "x"},
                    {"Name": "c", "IsOptional": True},
                ],
                "DataPathParameters": [{"Name": "d", "DefaultValue": default}],
                "DataPathParameterList": [{"Name": "e", "DefaultValue": {"LiteralValue": default}}],
            }
        )
    )
    told = {one.name: (one.assignment, one.type, one.required, one.datastore) for one in found}
    assert told == {
        "d": ("data_path", "", False, "lake"),
        "e": ("dataset", "", False, "lake"),
        "a": ("string", "Int", True, None),
        "b": ("string", "String", False, None),
        "c": ("string", "", False, None),
    }
    assert wire.inputs(b"{}") == ()


def test_datastore_as_the_service_tells_it() -> None:
    """Kind, account and container; nothing else of the answer is kept."""
    section = {"accountName": "a", "containerName": "c", "credential": {"accountKey": "x"}}
    told = wire.registered(msgspec.json.encode({"dataStoreType": "AzureBlob", "azureStorageSection": section}))
    assert (told.kind, told.account, told.container) == ("AzureBlob", "a", "c")
    with pytest.raises(EndpointError, match="no datastore as documented"):
        wire.registered(b"[]")


def test_address_of_a_run() -> None:
    """The service's own, where it gives one."""
    given = wire.run(b'{"Id": "r", "RunUrl": "https://ml.azure.com/x"}')
    none = wire.run(b'{"Id": "r"}')
    assert given is not None
    assert none is not None
    assert (given.told("page").run_url, none.told("page").run_url) == ("https://ml.azure.com/x", "page")


@pytest.mark.parametrize(("content", "told"), [(b" sorry \n", "sorry"), (b"", "Bad Gateway"), (b"x" * 300, "x" * 200)])
def test_words_of_a_fault_without_json(content: bytes, told: str) -> None:
    """The beginning of the text; where there is none, the status' own word."""
    response = requests.Response()
    response.status_code, response.reason, response._content = 502, "Bad Gateway", content
    assert wire.error(response) == told


@pytest.mark.parametrize("content", [b"\xff", b"[", b"{}", b'[{"Id": 5}]'])
def test_answer_that_is_not_what_is_documented(content: bytes) -> None:
    """An error of the endpoint, with how it begins."""
    with pytest.raises(EndpointError, match="not what is documented"):
        wire.runs(content)


@pytest.mark.parametrize("status", [302, 400, 402, 500])
def test_read_that_is_refused_is_asked_once(scripted: PublishedEndpoint, status: int) -> None:
    """A token goes to no other address, and only 401 is a matter of the token's age."""
    Scripted.answers = {"/PipelineRuns/r": (status, {}), "/elsewhere": (200, {"Id": "r"})}
    Scripted.asked.clear()
    with pytest.raises(EndpointError, match=str(status)):
        scripted.run("r")
    assert len(Scripted.asked) == 1


@pytest.mark.parametrize(
    ("start", "taken"),
    [
        ("https://westeurope.api.azureml.ms", True),
        ("http://127.0.0.1:7081", True),
        ("http://localhost:7081", True),
        ("http://[::1]:7081", True),
        ("http://westeurope.api.azureml.ms", False),
        ("ftp://127.0.0.1", False),
        ("wss://127.0.0.1", False),
        ("aaa://westeurope.api.azureml.ms", False),
        ("//127.0.0.1", False),
    ],
)
def test_where_a_token_may_go(start: str, taken: bool) -> None:
    """Over https anywhere, over http on this machine."""
    url = ENDPOINT_URL.replace("http://127.0.0.1:7081", start)
    if taken:
        assert Address.parse(url).service == start
    else:
        with pytest.raises(ValueError, match="expected https"):
            Address.parse(url)
