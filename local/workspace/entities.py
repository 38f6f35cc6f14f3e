"""How the v1 pipelines service writes runs, pipelines, endpoints and interfaces.

PascalCase except `tags`, enums as integers, times with seven fractional digits. Never changes anything.
"""

from typing import Any

from local.workspace.catalog import DataParameter, Endpoint, Pipeline
from local.workspace.runs import DataPath, Run, RunStatus, wire_time
from local.workspace.state import PIPELINES, Workspace

STEPS = ("Import Data", "Clean", "Split", "Train", "Score", "Evaluate")
TYPE_CODES = {"Int": 0, "Double": 1, "Bool": 2, "String": 3}
# The SDK asks for these on every call, and uploads any that is missing.
DATA_TYPES = [
    "AnyFile",
    "AnyDirectory",
    "AzureBlobReference",
    "AzureDataLakeReference",
    "AzureDataLakeGen2Reference",
    "AzureFilesReference",
    "AzureSqlDatabaseReference",
    "AzurePostgresDatabaseReference",
    "AzureMySqlDatabaseReference",
    "AzureMLDataset",
    "DBFSReference",
]


def legacy_path(path: DataPath) -> dict[str, str]:
    """Write a path on a datastore."""
    return {"DataStoreName": path.datastore, "RelativePath": path.path}


def run_entity(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Write a PipelineRunEntity."""
    given, keys = run.submission, workspace.settings.give_back_keys
    return {
        "Id": run.id,
        "Description": given.description,
        "Status": {
            "StatusCode": int(run.status),
            "StatusDetail": run.error,
            "CreationTime": wire_time(run.accepted),
            "EndTime": run.ended and wire_time(run.ended),
        },
        "GraphId": run.pipeline.graph_id,
        "IsSubmitted": True,
        "HasErrors": run.status is RunStatus.Failed,
        "HasWarnings": False,
        "UploadState": 1,
        "ParameterAssignments": given.parameters,
        "DataPathAssignments": {name: legacy_path(path) for name, path in given.data_paths.items()},
        "DataSetDefinitionValueAssignments": {
            name: {"LiteralValue": legacy_path(path)} for name, path in given.datasets.items()
        },
        "RunHistoryExperimentName": given.experiment,
        "PipelineId": run.pipeline.id,
        "PipelineEndpointId": run.endpoint_id,
        "RunSource": given.run_source,
        "RunType": given.run_type,
        "TotalRunSteps": len(STEPS),
        "ScheduleId": None,
        "RunUrl": f"{workspace.base_url}/runs/{run.id}",
        "tags": {**(given.tags if keys else {}), **run.tags},
        "Properties": {**(given.properties if keys else {}), **run.properties},
        "EntityStatus": 0,
        "Etag": f'"{run.id[:8]}-{int(run.status)}"',
        "CreatedDate": wire_time(run.accepted),
        "LastModifiedDate": wire_time(run.ended or run.started or run.accepted),
    }


def pipeline_entity(workspace: Workspace, pipeline: Pipeline) -> dict[str, Any]:
    """Write a PipelineEntity. It tells basic and dataset parameters' defaults, but not the data paths'."""
    content = pipeline.content
    return {
        "Id": pipeline.id,
        "Name": content.name,
        "Description": content.description,
        "Version": content.version,
        "GraphId": pipeline.graph_id,
        "TotalRunSteps": len(STEPS),
        "ParameterAssignments": {p.name: str(p.default) for p in content.parameters if p.default is not None},
        "DataSetDefinitionValueAssignments": {p.name: _dataset_default(p) for p in content.datasets},
        "Url": f"{workspace.base_url}{PIPELINES}/PipelineRuns/PipelineSubmit/{pipeline.id}",
        "EntityStatus": int(pipeline.status),
        "ContinueRunOnStepFailure": False,
        "EnableNotification": False,
        "Properties": {},
        "tags": {},
        "Etag": f'"{pipeline.id[:8]}-{int(pipeline.status)}"',
        "CreatedDate": wire_time(pipeline.created),
        "LastModifiedDate": wire_time(pipeline.created),
    }


def endpoint_url(workspace: Workspace, endpoint: Endpoint) -> str:
    """Return the endpoint's own REST URL, which names no version."""
    return f"{workspace.base_url}{PIPELINES}/PipelineRuns/PipelineEndpointSubmit/Id/{endpoint.id}"


def endpoint_entity(workspace: Workspace, endpoint: Endpoint) -> dict[str, Any]:
    """Write a PipelineEndpointEntity."""
    versions = [{"Version": version, "PipelineId": pipeline} for version, pipeline in endpoint.versions.items()]
    return {
        "Id": endpoint.id,
        "Name": endpoint.name,
        "Description": endpoint.description,
        "DefaultVersion": endpoint.default_version,
        "PipelineVersionList": versions,
        "Url": endpoint_url(workspace, endpoint),
        "SwaggerUrl": f"{workspace.base_url}/pipelines/swagger/pipelineendpointsubmit/swagger.json",
        "EntityStatus": int(endpoint.status),
        "Properties": endpoint.properties,
        "tags": endpoint.tags,
        "Etag": f'"{endpoint.id[:8]}-{endpoint.revision}"',
        "CreatedDate": wire_time(endpoint.created),
        "LastModifiedDate": wire_time(endpoint.modified),
    }


def interface_entity(pipeline: Pipeline) -> dict[str, Any]:
    """Write an EntityInterface: a pipeline's parameters, each in the list of its kind."""
    content = pipeline.content
    basic: list[dict[str, Any]] = [
        {
            "Name": p.name,
            "Documentation": None,
            "DefaultValue": None if p.default is None else str(p.default),
            "IsOptional": p.optional,
            "MinMaxRules": [],
            "EnumRules": [],
            "Type": TYPE_CODES[p.type],
        }
        for p in content.parameters
    ]
    data_paths = [{**_data_parameter(p, _legacy_default(p)), "DataTypeId": "AnyDirectory"} for p in content.data_paths]
    datasets = [_data_parameter(p, _dataset_default(p)) for p in content.datasets]
    return {
        "Parameters": basic,
        "Ports": {"Inputs": [], "Outputs": []},
        "MetadataParameters": [],
        "DataPathParameters": data_paths,
        "DataPathParameterList": datasets,
    }


def data_type_entities(workspace: Workspace) -> list[dict[str, Any]]:
    """Write the stock data types."""
    since = wire_time(next(iter(workspace.pipelines.values())).created)
    return [
        {
            "Id": name,
            "Name": name,
            "Description": name,
            "IsDirectory": name == "AnyDirectory",
            "ParentDataTypeIds": [],
            "EntityStatus": 0,
            "Etag": None,
            "CreatedDate": since,
            "LastModifiedDate": since,
        }
        for name in DATA_TYPES
    ]


def _data_parameter(parameter: DataParameter, default: dict[str, Any]) -> dict[str, Any]:
    return {"Name": parameter.name, "Documentation": None, "DefaultValue": default, "IsOptional": parameter.optional}


def _legacy_default(parameter: DataParameter) -> dict[str, str]:
    return legacy_path(DataPath(parameter.datastore, parameter.path))


def _dataset_default(parameter: DataParameter) -> dict[str, Any]:
    return {"LiteralValue": _legacy_default(parameter)}
