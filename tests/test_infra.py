"""infra/, azure.yaml and the workflow: parsed, linted, and in agreement with the app, its settings and the docs.

There is no compiler of Bicep and no Azure here: nothing of it is deployed. The hooks run against a stand-in of `az`.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.stack import THREADS
from shared.ledger.entries import State
from shared.settings.model import LedgerTable
from tests.environments import python_of
from tests.samples import ENVIRON
from tests.test_app import index

ROOT = Path(__file__).parent.parent
INFRA = ROOT / "infra"
TOOLS = Path(__file__).parent / "infra"
SAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
PARAMETERS: dict[str, dict[str, str]] = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
SOURCE = "".join(file.read_text() for room in ("shared", "functions") for file in sorted((ROOT / room).rglob("*.py")))

CONNECTION = ["blobServiceUri", "queueServiceUri", "tableServiceUri", "credential", "clientId"]
PLATFORM = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the host's: where the log goes",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the host's: as whom",
}
NOT_SET = {
    "FUNCTIONS_WORKER_RUNTIME": "the plan takes it from functionAppConfig, and refuses the setting",
    "IDENTITY_ENDPOINT": "the stand-in's; in Azure the platform sets it",
    "IDENTITY_HEADER": "the stand-in's; in Azure the platform sets it",
    "RETRAIN_BLOB_SOURCE": "its default is the only one that the plan can do",
    "RETRAIN_TIMER_SCHEDULE": "its default is right; EXTRA_SETTINGS can change it",
    "RETRAIN_GRACE": "its default is right; EXTRA_SETTINGS can change it",
}
QUEUE = "retrain-events"


@pytest.fixture(scope="module")
def bicep() -> dict[str, dict[str, Any]]:
    """Each file of infra/, parsed."""
    command = [str(python_of(TOOLS / "requirements.txt")), str(TOOLS / "parsed.py"), str(INFRA)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def config(one: dict[str, Any]) -> dict[str, Any]:
    """Return what is inside a resource's or module's loop and condition."""
    inside: dict[str, Any] = one["config"]
    while "config" in inside:
        inside = inside["config"]
    return inside


# Linted


def test_linter_finds_nothing() -> None:
    """Neither in Bicep nor in the workflow; what is let pass has its reason."""
    checkov = python_of(TOOLS / "requirements.txt").with_name("checkov")
    command = [str(checkov), "--directory", str(ROOT), "--skip-download", "--output", "json"]
    command += ["--framework", "bicep", "--framework", "github_actions"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    reports = {report["check_type"]: report for report in json.loads(done.stdout)}
    for kind, least in {"bicep": 30, "github_actions": 50}.items():
        results = reports[kind]["results"]
        assert [(one["check_id"], one["resource"]) for one in results["failed_checks"]] == []
        assert results["parsing_errors"] == []
        assert len(results["passed_checks"]) >= least
        assert all(one["check_result"]["suppress_comment"] for one in results["skipped_checks"])


# Bicep agrees with itself


def test_modules_are_given_what_they_take(bicep: dict[str, dict[str, Any]]) -> None:
    """No parameter too many, and none too few."""
    for name, module in bicep["main.bicep"]["modules"].items():
        takes = bicep[module["detail"]["path"]]["parameters"]
        given = set(config(module)["params"])
        assert given <= set(takes), name
        assert given >= {one for one, told in takes.items() if told["default"] is None}, name


def test_outputs_that_are_used_are_there(bicep: dict[str, dict[str, Any]]) -> None:
    """Of each module, by what main.bicep reads of it."""
    main = bicep["main.bicep"]
    read = re.findall(r"\b(\w+)!?\.outputs\.(\w+)", (INFRA / "main.bicep").read_text())
    assert read
    for module, output in read:
        assert output in bicep[main["modules"][module]["detail"]["path"]]["outputs"], f"{module}.{output}"


def test_every_file_opens_with_what_it_is_for(bicep: dict[str, dict[str, Any]]) -> None:
    """And each of them is part of the deployment."""
    used = {module["detail"]["path"] for module in bicep["main.bicep"]["modules"].values()}
    assert set(bicep) == {"main.bicep", *used}
    assert [name for name in bicep if not (INFRA / name).read_text().startswith("// ")] == []


def test_api_versions_are_stable_and_the_same_everywhere(bicep: dict[str, dict[str, Any]]) -> None:
    """A type has one version, and none is a preview."""
    resources = [one for file in bicep.values() for one in file.get("resources", {}).values()]
    assert [one["type"] for one in resources if one["api_version"].endswith("-preview")] == []
    versions = {(one["type"], one["api_version"]) for one in resources}
    assert len(versions) == len({kind for kind, _ in versions})


def test_nothing_is_assigned_at_the_subscription(bicep: dict[str, dict[str, Any]]) -> None:
    """Each role has the scope of one resource; a role of ours can be assigned in one resource group."""
    made = [(name, one) for name, file in bicep.items() for one in file.get("resources", {}).values()]
    assigned = {name for name, one in made if one["type"] == "Microsoft.Authorization/roleAssignments"}
    assert assigned == {"monitoring.bicep", *(name for name in bicep if name.startswith("roles-"))}
    for name, one in made:
        if one["type"] == "Microsoft.Authorization/roleAssignments":
            assert "scope" in config(one), name
        if one["type"] == "Microsoft.Authorization/roleDefinitions":
            [scope] = config(one)["properties"]["assignableScopes"]
            assert "resource_group" in json.dumps(scope)


# Bicep agrees with the app


def known() -> set[str]:
    """Return the app settings that the app knows, connections with what may follow their names."""
    table = (ROOT / "docs" / "settings.md").read_text().partition("## App settings\n")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"(?m)^\| (`.+?`) \|", table) for name in re.findall(r"`(\w+)`", row)}
    connections = {f"{name}__{part}" for name in ("AzureWebJobsStorage", "TrainingStorage") for part in CONNECTION}
    return named | connections


def set_by_bicep(bicep: dict[str, dict[str, Any]]) -> set[str]:
    """Return the names of the app settings that the templates set."""
    return set(bicep["app.bicep"]["variables"]["settings"]["value"])


def test_settings_are_those_that_the_app_knows(bicep: dict[str, dict[str, Any]]) -> None:
    """Or the platform's, by name."""
    assert set_by_bicep(bicep) - known() - {"RETRAIN_EVENTS"} == set(PLATFORM)


def test_settings_of_the_sample_are_set_or_have_a_reason_not_to_be(bicep: dict[str, dict[str, Any]]) -> None:
    """A setting that is new in the sample is thought of here."""
    found = {name.partition("__")[0] for name in set_by_bicep(bicep)}
    assert set(SAMPLE) - found == set(NOT_SET)


def test_threads_are_enough_for_what_the_host_starts_at_once(bicep: dict[str, dict[str, Any]]) -> None:
    """The template and the sample say one number, and it leaves room for calls and the timer."""
    name = "PYTHON_THREADPOOL_THREAD_COUNT"
    threads = bicep["app.bicep"]["variables"]["settings"]["value"][name]
    assert threads == SAMPLE[name] == THREADS[name]
    extensions = json.loads((ROOT / "host.json").read_text())["extensions"]
    queue = extensions["queues"]["batchSize"] + extensions["queues"]["newBatchThreshold"]
    assert extensions["blobs"]["maxDegreeOfParallelism"] == queue <= int(threads) / 2
    [app] = (one for one in bicep["app.bicep"]["resources"].values() if one["type"] == "Microsoft.Web/sites")
    scale = config(app)["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    assert scale["triggers"]["http"]["perInstanceConcurrency"] == queue


def test_names_in_storage_are_those_of_the_code(bicep: dict[str, dict[str, Any]]) -> None:
    """Table, queue and containers; within infra/, too."""
    made = bicep["storage.bicep"]["resources"]
    assert config(made["ledger"])["name"] == LedgerTable().table
    assert config(made["events"])["name"] == QUEUE
    [datastore] = bicep["main.bicep"]["parameters"]["datastores"]["default"]
    assert datastore["container"] == SAMPLE["TRAINING_CONTAINER"]
    topic = bicep["roles-events.bicep"]["resources"]
    assert {config(topic[one])["name"] for one in ("events", "deadLetters")} == {QUEUE, "dead-letters"}
    assert config(made["deadLetters"])["name"] == "dead-letters"
    text = (INFRA / "subscriptions.bicep").read_text()
    assert f"queueName: '{QUEUE}'" in text
    assert "blobContainerName: 'dead-letters'" in text
    assert f"/{config(made['package'])['name']}'" in (INFRA / "app.bicep").read_text()


def test_functions_are_the_apps(bicep: dict[str, dict[str, Any]]) -> None:
    """A subscription with another name would be answered 202, and its events be lost."""
    [datastore] = bicep["main.bicep"]["parameters"]["datastores"]["default"]
    [subscribed] = re.findall(r"webhook}\.(\w+)\$\{datastore\.name}", (INFRA / "subscriptions.bicep").read_text())
    [awaited] = re.findall(r"'(\w+)\$\{datastore\.name}'", (INFRA / "main.bicep").read_text())
    assert subscribed == awaited
    assert {f"{subscribed}{datastore['name']}", "tick"} <= set(index(ENVIRON))
    assert 'name == "tick"' in (INFRA / "alerts.bicep").read_text()


def test_function_of_the_queue_is_the_apps() -> None:
    """With its setting and its queue."""
    assert "RETRAIN_EVENTS" in known()
    functions = index({**ENVIRON, "RETRAIN_EVENTS": "queue"})
    assert functions["events"][0]["queueName"] == QUEUE
    assert functions["events"][0]["connection"] == "AzureWebJobsStorage"


def test_alerts_are_on_events_that_are_logged(bicep: dict[str, dict[str, Any]]) -> None:
    """By their words in the log."""
    logged = {*re.findall(r'\blog\(\s*"(\w+)"', SOURCE), *State}
    lines = bicep["alerts.bicep"]["variables"]["lines"]["value"]
    words = {word for line in lines for word in line["events"]}
    assert words <= logged
    assert words >= {State.DEAD, State.HELD, State.FAILED}
    assert f'startswith_cs "{State.DEFERRED} "' in (INFRA / "alerts.bicep").read_text()


def test_python_is_the_one_that_is_tested() -> None:
    """In Azure, in the workflow and in the dev container."""
    [version] = re.findall(r'requires-python = ">=([\d.]+),', (ROOT / "pyproject.toml").read_text())
    assert f"version: '{version}'" in (INFRA / "app.bicep").read_text()
    assert f'python-version: "{version}"' in (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert f"python:{version}" in (ROOT / ".devcontainer" / "devcontainer.json").read_text()


def test_azd_is_one_that_deletes_only_what_it_has_made() -> None:
    """Its `down` took the resource groups of workspace and training account for its own before 1.24.1."""
    [oldest] = re.findall(r'(?m)^  azd: ">= ([\d.]+)"', (ROOT / "azure.yaml").read_text())
    assert tuple(map(int, oldest.split("."))) >= (1, 24, 1)


# Parameters are the same on their way from azd into Bicep


def variables() -> set[str]:
    """Return azd's variables that main.parameters.json reads."""
    return {name for one in PARAMETERS.values() for name in re.findall(r"\$\{(\w+)", one["value"])}


def test_parameters_are_those_of_the_template(bicep: dict[str, dict[str, Any]]) -> None:
    """Each is given; where azd has a default, it is the template's."""
    declared = bicep["main.bicep"]["parameters"]
    assert set(PARAMETERS) == set(declared)
    for name, one in PARAMETERS.items():
        default = re.fullmatch(r"\$\{\w+=(.*)}", one["value"])
        if default:
            assert default[1] == json.dumps(declared[name]["default"]).strip('"'), name


def test_docs_and_workflow_have_every_variable() -> None:
    """But the topic: the hook finds it."""
    docs = set(re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs" / "deploy.md").read_text()))
    assert docs == variables()
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert set(re.findall(r"(?m)^      (\w+): \$\{\{", workflow)) >= variables() - {"TRAINING_TOPIC_ID"}


# Hooks, with a stand-in of az that notes what it is asked and answers from files

AZ = r"""#!/bin/sh
echo "$*" >>"$TOLD/calls"
for word; do case "$word" in @*) cp "${word#@}" "$TOLD/parameters" ;; esac; done
case "$*" in
"account show"*) ;;
"functionapp function list"*)
    cat "$TOLD/functions"
    if [ -e "$TOLD/later" ]; then mv "$TOLD/later" "$TOLD/functions"; fi
    ;;
"functionapp keys list"*) cat "$TOLD/key" ;;
"deployment group create"*) cat "$TOLD/states" ;;
"eventgrid system-topic list"*) cat "$TOLD/topics" ;;
"resource show"*location*) cat "$TOLD/region" ;;
"resource show"*) cat "$TOLD/kind" ;;
*) exit 1 ;;
esac
"""
AZD = '#!/bin/sh\necho "$*" >>"$TOLD/azd"\n'
THERE = "app/arrive_training\napp/tick\napp/status\n"
ACCOUNT = "/subscriptions/s/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/training"
TOPIC = "/subscriptions/s/resourceGroups/data/providers/Microsoft.EventGrid/systemTopics/theirs"
GIVEN = {  # what azd has in its environment: variables, and outputs of main.bicep
    "AZURE_SUBSCRIPTION_ID": "s",
    "WORKSPACE_ID": "/subscriptions/s/resourceGroups/ml/providers/Microsoft.MachineLearningServices/workspaces/w",
    "TRAINING_ACCOUNT_ID": "",
    "AZURE_RESOURCE_GROUP": "rg",
    "FUNCTION_APP_NAME": "app",
    "FUNCTION_APP_HOST": "app.azurewebsites.net",
    "EVENT_DELIVERY_IN_USE": "blobTrigger",
    "EVENT_FUNCTIONS": "arrive_training",
    "EVENT_DATASTORES": '[{"name":"training","container":"training-data","prefix":""}]',
    "EVENT_TOPIC_SUBSCRIPTION": "s",
    "EVENT_TOPIC_GROUP": "data",
    "EVENT_TOPIC_NAME": "topic",
    "EVENT_TOKEN": "t",
    "STORAGE_ACCOUNT_ID": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/st",
}


class World:
    """Where `az` answers from files, and hooks run in one shell."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.folder = shell, folder
        (folder / "bin").mkdir()
        for name, text in {"az": AZ, "azd": AZD}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.say(functions=THERE, key="k3y==\n", states="Succeeded\n", region="westeurope\n", kind="StorageV2\n")
        self.say(topics="")

    def say(self, **answers: str) -> None:
        """Let `az` answer so."""
        for name, answer in answers.items():
            (self.folder / name).write_text(answer)

    def noted(self, name: str) -> str:
        """Return what was noted."""
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    def run(self, hook: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a hook as azd does."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, **GIVEN, "PATH": path, "TOLD": str(self.folder), "HOOK_PAUSE": "0", **changed}
        words = {"sh": ["sh", f"{hook}.sh"], "pwsh": ["pwsh", "-NoProfile", "-File", f"{hook}.ps1"]}[self.shell]
        return subprocess.run(
            words, cwd=INFRA / "hooks", env=environ, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture(params=[shell for shell in ("sh", "pwsh") if shutil.which(shell)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world, for each shell that azd may use and that this machine has."""
    return World(request.param, tmp_path)


def test_variables_of_the_hooks_are_those_that_azd_has(bicep: dict[str, dict[str, Any]]) -> None:
    """Outputs of main.bicep, variables of main.parameters.json, and azd's own."""
    given = {*bicep["main.bicep"]["outputs"], *variables(), "AZURE_SUBSCRIPTION_ID"}
    assert set(GIVEN) <= given
    for name in ("preprovision", "postdeploy"):
        in_sh = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", (INFRA / "hooks" / f"{name}.sh").read_text()))
        in_pwsh = set(re.findall(r"\$env:([A-Z_]+)", (INFRA / "hooks" / f"{name}.ps1").read_text()))
        assert in_sh == in_pwsh
        assert in_sh - {"HOOK_PAUSE"} <= given


def test_events_are_led_to_functions_that_are_there(world: World, bicep: dict[str, dict[str, Any]]) -> None:
    """By the same template as for the queue; the key stays out of the command line. Twice is as good as once."""
    for _ in range(2):
        done = world.run("postdeploy")
        assert done.returncode == 0, done.stdout + done.stderr
    deployed = [line for line in world.noted("calls").splitlines() if line.startswith("deployment")]
    assert len({re.sub(r"@\S+", "", line) for line in deployed}) == 1
    assert "k3y" not in world.noted("calls")
    given = json.loads(world.noted("parameters"))
    assert given["blobsKey"]["value"] == "k3y=="
    assert given["datastores"]["value"] == json.loads(GIVEN["EVENT_DATASTORES"])
    named = set(re.findall(r" (\w+)=", deployed[0]))
    assert named | set(given) == set(bicep["subscriptions.bicep"]["parameters"])


@pytest.mark.parametrize("functions", ["", "app/status\napp/tick\n", "app/arrive_training_2\napp/tick\n"])
def test_nothing_is_subscribed_to_a_function_that_is_not_there(world: World, functions: str) -> None:
    """None found at all: a role is missing. Another name: its events would be lost."""
    world.say(functions=functions)
    done = world.run("postdeploy")
    assert done.returncode == 1
    assert "arrive_training" in done.stderr
    assert "roles" in done.stderr
    assert world.noted("calls").count("function list") == 15
    assert "deployment" not in world.noted("calls")


def test_host_that_takes_its_time_is_waited_for(world: World) -> None:
    """Functions and roles come late after a first deployment."""
    world.say(functions="", later=THERE)
    assert world.run("postdeploy").returncode == 0
    assert world.noted("calls").count("function list") == 2


@pytest.mark.parametrize("states", ["", "Failed\n", "Succeeded\nAwaitingManualAction\n"])
def test_handshake_that_fails_is_told(world: World, states: str) -> None:
    """Every subscription has to be there, and proven."""
    world.say(states=states)
    done = world.run("postdeploy")
    assert done.returncode == 1
    assert "subscriptions" in done.stderr


def test_queue_needs_its_function_and_no_subscription_afterwards(world: World) -> None:
    """It is made with everything else."""
    by_queue = {"EVENT_DELIVERY_IN_USE": "queue", "EVENT_FUNCTIONS": "events"}
    assert world.run("postdeploy", **by_queue).returncode == 1
    world.say(functions="app/events\napp/tick\n")
    assert world.run("postdeploy", **by_queue).returncode == 0
    assert "deployment" not in world.noted("calls")


def test_topic_that_is_there_is_used(world: World) -> None:
    """Whatever the case of its ids; one of another account is none."""
    other = f"{ACCOUNT}2\t{TOPIC}2\tSystemAssigned\n"
    world.say(topics=f"{other}{ACCOUNT.upper()}\t{TOPIC}\tSystemAssigned\n")
    done = world.run("preprovision", TRAINING_ACCOUNT_ID=ACCOUNT)
    assert done.returncode == 0, done.stderr
    assert world.noted("azd") == f"env set TRAINING_TOPIC_ID {TOPIC}\n"
    world.say(topics=other)
    assert world.run("preprovision", TRAINING_ACCOUNT_ID=ACCOUNT).returncode == 0
    assert world.noted("azd").splitlines()[1].strip() == "env set TRAINING_TOPIC_ID"


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"kind": "Storage\n"}, "classic"),
        ({"topics": f"{ACCOUNT}\t{TOPIC}\tNone\n"}, f"--ids {TOPIC} --mi-system-assigned"),
        ({"kind": None}, "no storage account that you can read"),
        ({"region": None}, "no workspace that you can read"),
        ({"topics": None}, "cannot be listed"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_made(
    world: World, answers: dict[str, str | None], told: str
) -> None:
    """With what to do about it. None: `az` fails."""
    world.say(**{name: answer for name, answer in answers.items() if answer is not None})
    for name in [name for name, answer in answers.items() if answer is None]:
        (world.folder / name).unlink()
    done = world.run("preprovision", TRAINING_ACCOUNT_ID=ACCOUNT)
    assert done.returncode == 1
    assert told in done.stderr
    assert world.noted("azd") == ""


def test_new_training_account_needs_nothing_looked_up(world: World) -> None:
    """Its topic is made with it; nothing is noted."""
    assert world.run("preprovision").returncode == 0
    assert world.noted("azd") == ""
