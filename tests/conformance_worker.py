"""Our own client before a workspace, in a process like those of the SDKs: submits once to each kind of endpoint.

    python -m tests.conformance_worker http://127.0.0.1:7081 case.json sent.json

`case.json` is the submission to send (local/conformance/case.py), `sent.json` becomes {"runs": {kind: run id}}. Needs
IDENTITY_ENDPOINT and IDENTITY_HEADER. Holds no tests, and judges nothing.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.pipelines.address import Address
from shared.pipelines.base import Limits, Submitted
from shared.pipelines.endpoints import Endpoints
from shared.pipelines.target import Target
from shared.rules.arrival import Arrival, Source
from shared.rules.decision import DataPath, RetrainRequest
from tests.samples import WRITTEN


def targets(url: str, case: dict[str, Any]) -> dict[str, Target]:
    """Return where to send, by kind."""
    runs, experiment = f"{url}/pipelines/v1.0{case['workspace']}/PipelineRuns", case["experiment"]
    endpoint = Address.parse(f"{runs}/PipelineEndpointSubmit/Id/{case['endpoint']}")
    published = Address.parse(f"{runs}/PipelineSubmit/{case['pipeline']}")
    batch = Address.of_batch(f"{url}/batch/{case['batch']}/jobs", case["workspace"])
    component = Address.of_component(url, case["workspace"], case["component"])
    return {
        "pipeline_endpoint": Target(address=endpoint, version=case["version"], experiment=experiment),
        "published_pipeline": Target(address=published, version=case["pipeline"], experiment=experiment),
        "batch_endpoint": Target(
            address=batch, version=case["deployment"], experiment=experiment, audience="https://ml.azure.com"
        ),
        "component_job": Target(address=component, version=case["version"], experiment=experiment),
    }


def request_of(case: dict[str, Any], kind: str) -> RetrainRequest:
    """Return the request that makes the case's submission."""
    return RetrainRequest(
        key=case["component_key" if kind == "component_job" else "key"],
        rule=case["rule"],
        pipeline="income",
        data_path=DataPath(datastore=case["datastore"], path=case["path"], parameter=case["parameter"]),
        parameters={name: str(value) for name, value in case["parameters"].items()},
        arrival=Arrival(
            datastore=case["datastore"],
            path=case["path"],
            etag="0",
            last_modified=WRITTEN,
            size=1,
            source=Source.BLOB_SCAN,
        ),
    )


def main(url: str, case_file: str, sent_file: str) -> None:
    """Submit. Raises SystemExit with the answer of what did not take it."""
    case = json.loads(Path(case_file).read_text(encoding="utf-8"))
    endpoints, runs = Endpoints(Limits.within(timedelta(minutes=10))), dict[str, str]()
    try:
        for kind, target in targets(url, case).items():
            answer = endpoints.at(target).submit(request_of(case, kind), target)
            if not isinstance(answer, Submitted):
                raise SystemExit(f"{kind}: {answer}")
            runs[kind] = answer.run_id
    finally:
        endpoints.close()
    Path(sent_file).write_text(json.dumps({"runs": runs}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
