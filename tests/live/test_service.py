"""What the app relies on, as tests; and what is not established about the service, as lines of a report.

A test fails where the service is not what the app takes it for; what only is of interest is told, whatever it is. The
order matters: a recording is replayed in it.
"""

from collections import Counter
from urllib.parse import quote

import pytest

from shared.pipelines import wire
from shared.pipelines.base import Phase, ReadError
from shared.pipelines.batch import DEPLOYMENT, invocation
from tests.live.recording import NOWHERE, RATES
from tests.live.session import Live, told

# Reading: a pipeline endpoint


def test_endpoint_has_the_pinned_version_and_tells_its_parameters(live: Live) -> None:
    """Both are active; each parameter is in the list that says which map it belongs in."""
    live.need("endpoint_url", "version")
    found = live.published.described(live.place.version)
    assert (found.status, found.pipeline_status) == ("Active", "Active")
    assert live.place.version in found.versions
    assert found.pipeline_id
    kinds = Counter[str](one.assignment for one in found.inputs)
    names = {"data_path": "DataPathParameters", "dataset": "DataPathParameterList", "string": "Parameters"}
    lists = [f"{kinds[kind]} in {name}" for kind, name in names.items()]
    live.report.tell(1, "lists of the interface", f"of what is pinned: {', '.join(lists)}")


def test_unknown_run_and_datastore(live: Live) -> None:
    """The app takes 404 for an answer that says so."""
    live.need("endpoint_url")
    run = live.ask("GET", live.published.address.api(f"PipelineRuns/{NOWHERE}"), live.arm)
    live.report.tell(3, "unknown run", told(run))
    address = live.published.address
    url = f"{address.service}/datastore/v1.0{address.workspace}/datastores/retrain-nowhere"
    live.report.tell(3, "unknown datastore", told(live.ask("GET", url, live.arm)))
    assert run.status_code == 404
    assert live.published.registered("retrain-nowhere") is None


def test_datastore_is_registered(live: Live) -> None:
    """Its account and container can be read, with either API."""
    live.need("datastore")
    if live.place.endpoint_url:
        found = live.published.registered(live.place.datastore)
        assert found is not None
        assert found.container
    if live.place.batch_url:
        found = live.batch.registered(live.place.datastore)
        assert found is not None
        assert found.container


def test_token_for_another_audience(live: Live) -> None:
    """The app sends a token for Azure Resource Manager; whether one for ml.azure.com would do is told."""
    live.need("endpoint_url")
    url = live.published.address.api(f"PipelineEndpoints/Id/{live.published.address.id}")
    assert live.ask("GET", url, live.arm).status_code == 200
    live.report.tell(6, "reading the endpoint", told(live.ask("GET", url, live.ml)))


def test_run_history_can_be_searched(live: Live) -> None:
    """For a key that no run has: nothing is found, and nothing is refused."""
    live.need("endpoint_url")
    assert live.published.search(live.key(), live.place.experiment) is None


# Reading: a batch endpoint


def test_batch_endpoint_has_the_deployment_and_tells_its_inputs(live: Live) -> None:
    """Both can be used; the deployment is of a pipeline component, whose inputs are declared."""
    live.need("batch_url", "deployment")
    found = live.batch.described(live.place.deployment)
    assert (found.status, found.pipeline_status) == ("Active", "Active")
    assert live.place.deployment in found.versions
    assert all(one.type for one in found.inputs)


def test_jobs_of_a_deployment_are_listed_and_searched(live: Live) -> None:
    """Each names its deployment; a key that none has is found nowhere, and an unknown job is 404."""
    live.need("batch_url", "deployment")
    assert {run.pipeline_id for run in live.batch.runs(live.place.deployment)} <= {live.place.deployment}
    assert live.batch.search(live.key(), live.place.experiment) is None
    with pytest.raises(ReadError) as refused:
        live.batch.run("retrain-nowhere")
    assert refused.value.status == 404


# Submitting to a pipeline endpoint


def test_submission_is_accepted_pinned_and_found_by_its_key(live: Live) -> None:
    """The run is of the pinned version's pipeline; the key comes back somewhere; the run ends when it is asked to."""
    live.need("submit", "endpoint_url", "version", "datastore", "path")
    endpoint = live.published
    request = live.request(endpoint)
    answer, run_id = live.submit(endpoint, request)
    assert run_id, answer
    try:
        run = endpoint.run(run_id)
        assert run.pipeline_id == endpoint.pinned(live.place.version)
        on_run = live.looks_until(lambda: endpoint.run(run_id).key == request.key)
        live.report.tell(2, "on the run", on_run or "neither tags nor Properties come back")
        in_history = live.looks_until(lambda: endpoint.search(request.key, live.place.experiment) is not None)
        live.report.tell(2, "in run history", in_history or "not found by the key")
        listed = live.looks_until(lambda: run_id in {one.run_id for one in endpoint.runs(live.place.version)})
        assert listed, "a run is never in the list of its pipeline's runs"
    finally:
        live.end(endpoint, run_id)
    assert live.looks_until(lambda: endpoint.run(run_id).phase in (Phase.CANCELED, Phase.FINISHED, Phase.FAILED))


def test_version_that_there_is_none_of_starts_nothing(live: Live) -> None:
    """It is refused: what is pinned never becomes the default version."""
    live.need("submit", "endpoint_url", "version", "datastore", "path")
    answer, run_id = live.submit(live.published, live.request(live.published), version="99999")
    if run_id:
        live.end(live.published, run_id)
    live.report.tell(3, "unknown version", answer)
    assert not run_id


@pytest.mark.parametrize(
    ("question", "part", "path", "parameters"),
    [
        (3, "unknown parameter", "{path}", {"retrain_nowhere": "1"}),
        (11, "leading slash", "/{path}", {}),
        (11, "special characters", "{path} ü+%&special", {}),
    ],
)
def test_odd_submissions(live: Live, question: int, part: str, path: str, parameters: dict[str, str]) -> None:
    """The app sends none of these; what they come to is told."""
    live.need("submit", "endpoint_url", "version", "datastore", "path")
    request = live.request(live.published, path.format(path=live.place.path), **parameters)
    answer, run_id = live.submit(live.published, request)
    if run_id:
        live.end(live.published, run_id)
    live.report.tell(question, part, answer)


# Submitting to a batch endpoint


def test_invocation_is_accepted_pinned_and_found_by_its_key(live: Live) -> None:
    """The job names the deployment; the key comes back somewhere; a second one of its name is no second job."""
    live.need("submit", "batch_url", "deployment", "datastore", "path")
    endpoint = live.batch
    request = live.request(endpoint)
    answer, name = live.submit(endpoint, request)
    assert name, answer
    again = ""
    try:
        live.report.tell(7, "name", "honoured" if name == request.key else "the service chose another")
        job = endpoint.run(name)
        assert job.pipeline_id == live.place.deployment
        properties = live.resource("GET", f"jobs/{name}").json()["properties"]
        places = [place for place in ("tags", "properties") if wire.KEY in (properties.get(place) or {})]
        live.report.tell(7, "tags and properties", f"come back in {' and '.join(places) or 'neither'}")
        answer, again = live.submit(endpoint, request)
        same = "the job that there is" if again == name else answer
        live.report.tell(7, "the same name twice", same if again in ("", name) else "a second job")
        found = live.looks_until(lambda: endpoint.search(request.key, live.place.experiment) is not None)
        assert found, "a job is never found by its key"
    finally:
        for one in {name, again} - {""}:
            live.end(endpoint, one)


def test_same_repeatability_request_id_twice(live: Live) -> None:
    """Nothing rests on it; whether it makes the second invocation the first is told."""
    live.need("submit", "batch_url", "deployment", "datastore", "path")
    endpoint = live.batch
    body = invocation(live.request(endpoint), live.target(endpoint), {})
    del body["properties"]["name"]
    headers = {DEPLOYMENT: live.place.deployment, "repeatability_request-id": NOWHERE}
    answers = [live.ask("POST", endpoint.address.scoring, live.ml, body, headers) for _ in range(2)]
    names = [answer.json()["name"] for answer in answers if answer.ok]
    for name in dict.fromkeys(names):
        live.end(endpoint, name)
    how = {0: "none was accepted", 1: "one job"}.get(len(set(names)), "two jobs")
    live.report.tell(7, "the same repeatability_request-id twice", f"{how} ({', '.join(map(told, answers))})")


# A job under a name of our own


def test_second_put_of_a_jobs_name(live: Live) -> None:
    """The job is of the pinned component; whether a second one is refused, and tells that the first is there."""
    live.need("submit", "component", "datastore", "path")
    endpoint = live.component
    request = live.request(endpoint)
    preview = endpoint.preview(request, live.target(endpoint))
    answer, name = live.submit(endpoint, request)
    assert name == request.key, answer
    try:
        assert endpoint.run(name).pipeline_id in (None, endpoint.pinned(live.pin(endpoint)))
        second = live.ask(preview.method, preview.url, live.arm, preview.body)
    finally:
        live.end(endpoint, name)
    live.report.tell(12, "the same content twice", told(second))


# What reading tells once there are runs


def test_list_of_a_pipelines_runs(live: Live) -> None:
    """Each is a run of the pipeline; how many there are, and in which order, is told."""
    live.need("endpoint_url", "version")
    url = live.published.address.api(f"PipelineRuns/Pipeline/{live.published.pinned(live.place.version)}")
    answer = live.ask("GET", url, live.arm)
    assert answer.ok, told(answer)
    content = answer.json()
    assert isinstance(content, list)
    times = [str(run.get("CreatedDate")) for run in content]
    order = "newest first" if times == sorted(times, reverse=True) else "oldest first"
    order = order if times in (sorted(times), sorted(times, reverse=True)) else "in no order by CreatedDate"
    live.report.tell(5, "the list", f"an array of {len(content)}, {order}, without a continuation")
    assert {run.pipeline_id for run in live.published.runs(live.place.version)} <= {
        live.published.pinned(live.place.version)
    }


def test_resource_manager_and_runs_of_the_pipelines_service(live: Live) -> None:
    """The app does not rely on it; it is told."""
    live.need("endpoint_url", "version")
    runs = live.published.runs(live.place.version)
    if not runs:
        pytest.skip("not asked: the pipeline has no run")
    live.report.tell(9, "one run", told(live.resource("GET", f"jobs/{quote(runs[0].run_id)}")))


def test_what_all_answers_tell(live: Live) -> None:
    """Rights, rates and retirement: what the answers to everything above had in their status and headers."""
    exchanges = live.recording.exchanges
    headers = {name: value for one in exchanges for name, value in one.headers.items()}
    rates = [f"{name}: {value}" for name, value in headers.items() if name.startswith((RATES, "retry-after"))]
    live.report.tell(4, "headers of all answers", "; ".join(rates) or "no Retry-After, no x-ms-ratelimit-...")
    ends = [f"{name}: {headers[name]}" for name in ("deprecation", "sunset") if name in headers]
    live.report.tell(10, "Deprecation and Sunset headers", "; ".join(ends) or "none")
    reads = [one for one in exchanges if one.method == "GET"]
    refused = sum(one.status in (401, 403) for one in reads)
    live.report.tell(8, "what this identity may read", f"{len(reads)} reads, {refused} of them refused (401, 403)")
    assert reads
