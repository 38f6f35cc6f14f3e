"""From a published pipeline to a batch endpoint: what is printed is what works, on the stand-in that has both."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cli import commands
from local.configuration import shipped, toml
from local.workspace.seed import BATCH_ENDPOINT
from shared.app import App, build
from shared.errors import BadRequestError, NotFoundError
from shared.flow.arrive import arrive
from shared.operate import check as checks
from shared.operate.migrate import deployment_of, migrate, table
from shared.pipelines.batch import BatchEndpoint as Client
from shared.rules.arrival import Source
from shared.rules.rule import DataPathParameter, Rule, Settle
from shared.settings import read
from shared.settings.model import BatchEndpoint, Pipeline, PipelineEndpoint, PublishedPipeline
from tests import samples
from tests.fixtures_workspace import LocalWorkspace
from tests.samples import ENDPOINT_URL


def with_rules(app: App, *rules: Rule, **pipelines: Pipeline) -> App:
    """Return the application with other rules and further pipelines."""
    known = {**app.settings.pipelines, **pipelines}
    return replace(app, settings=msgspec.structs.replace(app.settings, rules=rules, pipelines=known))


def test_table_that_is_printed_works(
    app: App, workspace: LocalWorkspace, empty_container: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put in place of the old one it is sound, and the next arrival goes to the deployment."""
    told = migrate(app, "income")
    content = shipped()
    content["pipelines"] = tomllib.loads(told.table)["pipelines"]
    file = tmp_path / "retrain.toml"
    file.write_text(toml(content))
    uri = f"{workspace.base_url}/batch/{BATCH_ENDPOINT}/jobs"
    for name, value in {**samples.ENVIRON, "INCOME_SCORING_URI": uri}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TrainingStorage", workspace.info["storage"])
    monkeypatch.setenv("AzureWebJobsStorage", workspace.info["storage"])
    settings = msgspec.structs.replace(read.load(file), ledger=app.settings.ledger)
    made = build(settings)
    workspace.upload("income/us/a.csv", "a\n1\n")
    assert [one for one in checks.check(made) if one.level != "ok"] == []
    made.prepare()
    [outcome] = arrive(made, "training", "income/us/a.csv", Source.BLOB_EVENT)
    assert outcome.entry is not None
    assert outcome.entry.version == "income-1"
    made.close()


def test_component_declares_what_the_pipeline_took(app: App, workspace: LocalWorkspace) -> None:
    """The same inputs that the stand-in's component has, which was made from that pipeline."""
    told = migrate(app)
    batch = BatchEndpoint(
        url=f"{workspace.base_url}/batch/{BATCH_ENDPOINT}/jobs",
        workspace=workspace.info["workspace"],
        deployment="income-1",
        experiment="e",
    )
    client = app.endpoint(batch.target)
    assert isinstance(client, Client)
    words = {"Int": "integer", "Double": "number", "Bool": "boolean", "String": "string"}
    declared = client.described("income-1").inputs
    expected = [(one.name, words.get(one.type, one.type), not one.required) for one in declared]
    assert [(one.name, one.type, one.optional) for one in told.inputs] == expected
    assert told.interface.startswith("inputs:\n  input_data:\n    type: uri_file\n")
    assert "  seed:\n    type: integer\n    optional: true\n" in told.interface
    assert told.rules == []


def test_names_that_v2_does_not_allow(app: App, workspace: LocalWorkspace) -> None:
    """Renamed in the component, and said of each rule that uses them; so is an assignment."""
    parameters = [{"name": "test-fraction", "type": "Double", "default": 0.25}, {"name": "where", "type": "String"}]
    paths = [{"name": "ref", "datastore": "training", "path": "ref"}]
    made = workspace.control("POST", "pipelines", {"name": "odd", "parameters": parameters, "data_paths": paths})
    url = f"{workspace.pipelines}/PipelineRuns/PipelineSubmit/{made['Id']}"
    rule = samples.changed(
        pipeline="odd",
        path="income/{c}/*.csv",
        data_path=DataPathParameter(parameter="where", grain="folder", assignment="string"),
        parameters={"test-fraction": "0.5"},
        settle=Settle(quiet="1m"),
    )
    told = migrate(with_rules(app, rule, odd=PublishedPipeline(url=url, experiment="e")), "odd")
    assert [(one.name, one.type, one.was) for one in told.inputs] == [
        ("ref", "uri_file", ""),
        ("test_fraction", "number", "test-fraction"),
        ("where", "uri_folder", ""),
    ]
    assert told.rules == [
        "Rule 'income-files': 'test-fraction' is no name in v2; write 'test_fraction'.",
        "Rule 'income-files': `assignment` of 'where' has no meaning there; leave it out.",
    ]
    deployment = tomllib.loads(told.table)["pipelines"]["odd"]["deployment"]
    assert deployment.startswith("odd-")
    assert len(deployment) <= 32


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("income", {}),
        ("a.b", {"on_uncertain": "hold", "give_up_after": "1d"}),
        ("9-very-long-name-of-a-pipeline-that-goes-on-and-on", {"version": "123456789"}),
        ("_", {"experiment": 'a "quoted" one'}),
    ],
)
def test_table_is_toml_that_can_be_read(name: str, changes: dict[str, Any]) -> None:
    """Whatever the pipeline is called; what was configured otherwise than by default is kept."""
    values = {"url": ENDPOINT_URL, "version": "1", "experiment": "e", **changes}
    pipeline = PipelineEndpoint(**values)
    [(key, made)] = tomllib.loads(table(name, pipeline, deployment_of(name, pipeline.pin)))["pipelines"].items()
    assert key == name
    kept = changes.keys() - {"version"}
    assert {one: made[one] for one in kept} == {one: changes[one] for one in kept}
    assert isinstance(msgspec.convert(made, BatchEndpoint), BatchEndpoint)


def test_which_pipeline(app: App, workspace: LocalWorkspace) -> None:
    """The only one that can move, or the one that is named."""
    with pytest.raises(NotFoundError, match="known are: income"):
        migrate(app, "nowhere")
    batch = BatchEndpoint(url="https://x", workspace="w", deployment="d-1", experiment="e")
    with pytest.raises(BadRequestError, match="is a v2 one already"):
        migrate(with_rules(app, samples.RULE, new=batch), "new")
    two = with_rules(app, samples.RULE, second=app.settings.pipelines["income"])
    with pytest.raises(BadRequestError, match="name one of income, second"):
        migrate(two)
    old = app.settings.pipelines["income"]
    assert isinstance(old, PipelineEndpoint)
    gone = with_rules(app, samples.RULE, income=msgspec.structs.replace(old, version="9"))
    with pytest.raises(NotFoundError, match="has no version '9'"):
        migrate(gone)


def test_command(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """For people, in parts; nothing of it is written anywhere."""
    monkeypatch.setattr(commands, "app", lambda: app)
    monkeypatch.setattr("cli.environment.load", lambda _port: None)
    monkeypatch.setattr("cli.environment.require_storage", lambda: None)
    done = CliRunner().invoke(commands.commands, ["migrate", "income"])
    assert done.exit_code == 0, done.output
    for text in ('kind = "batch_endpoint"', "type: uri_file", "stay as they are", "7. Run ./retrain check"):
        assert text in done.output
