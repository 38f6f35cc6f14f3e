"""`./retrain conformance`: runs the SDKs and our own client before the stand-in, compares, and prints.

Believes only what the stand-in received and what the SDKs saw. What cannot be run here is skipped, with the reason, and
is not ok. Each driver is a process of its own; Azurite and the workspaces are on free ports, in memory.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import requests
import trustme
from azure.storage.blob import BlobServiceClient
from rich.console import Console

from local import azurite
from local.conformance.case import CASE
from local.conformance.compare import Difference, Explained, differences, fields, stale
from local.conformance.expected import V1, V2, Facts
from local.conformance.explained import EXPLAINED
from local.environments import UnavailableError, python_of
from local.process import HOST, Child, ChildFailedError
from local.stack import LOGS, ROOT, interruptible
from local.workspace.sample_data import generate
from local.workspace.seed import DATASTORE, INPUT

PATIENCE_S = 300  # for a driver; all of them take seconds
HERE = Path(__file__).parent


class Sdk(NamedTuple):
    """One of Microsoft's, and what it is to see."""

    name: str
    folder: Path
    pythons: tuple[str, ...]
    expected: Facts
    kinds: tuple[str, ...]
    """The kinds of endpoint that it submits to, each with what our own client sends there."""


PIPELINES = Sdk(
    "azureml-pipeline-core",
    HERE / "v1",
    ("python3.11", "python3.10", "python3.9", "python3.8"),
    V1,
    ("pipeline_endpoint", "pipeline_endpoint, REST client", "published_pipeline"),
)
BATCH = Sdk("azure-ai-ml", HERE / "v2", (sys.executable,), V2, ("batch_endpoint", "component_job"))


class Check(NamedTuple):
    """Something that is to hold, and what was seen."""

    name: str
    ok: bool
    told: str
    skipped: bool = False


class Outcome(NamedTuple):
    """What all of it came to."""

    checks: list[Check]
    differences: list[Difference]

    @property
    def ok(self) -> bool:
        """Whether everything holds; what was skipped does not."""
        return bool(self.checks) and all(check.ok for check in self.checks)


class Seen(NamedTuple):
    """What a driver has written down, and the submissions that its workspace received, by run id."""

    facts: Facts
    runs: dict[str, str]
    """Run ids, by kind."""
    received: dict[str, dict[str, Any]]

    def sent(self, kind: str) -> dict[str, Any]:
        """Return the fields of the submission to a kind of endpoint."""
        return fields(self.received[self.runs[kind]])


def conformance(as_json: bool) -> int:
    """Run it; return the exit code: 0 only when everything was run and holds."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="conformance-", dir=LOGS))
    try:
        with interruptible():
            outcome = run(logs, console)
    except (ChildFailedError, requests.RequestException, KeyboardInterrupt) as error:
        fault = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        outcome = Outcome([Check("everything starts", ok=False, told=fault)], [])
    if outcome.ok:
        shutil.rmtree(logs)
    show(outcome, console)
    if as_json:
        told = {"ok": outcome.ok, "checks": [one._asdict() for one in outcome.checks]}
        print(json.dumps({**told, "differences": [one._asdict() for one in outcome.differences]}))
    return 0 if outcome.ok else 1


def run(logs: Path, console: Console) -> Outcome:
    """Start everything, let everybody submit, and compare. Raises ChildFailedError where nothing can be started."""
    ready, outcome = list[tuple[Sdk, Path]](), Outcome([], [])
    for sdk in (PIPELINES, BATCH):
        console.print(f"{sdk.name}: an environment of its own ...")
        try:
            ready.append((sdk, python_of(sdk.folder / "requirements.txt", sdk.pythons)))
        except UnavailableError as error:
            outcome.checks.append(Check(sdk.name, ok=False, told=str(error), skipped=True))
    if not ready:
        return outcome
    console.print("starting on free ports: storage emulator, workspace stand-in, the same over TLS")
    with contextlib.ExitStack() as stack:
        storage = azurite.start(logs / "azurite.log")
        stack.enter_context(storage.child)
        upload(storage.connection_string)
        plain = stack.enter_context(workspace("workspace", storage.connection_string, logs))
        tls = stack.enter_context(workspace("workspace-tls", storage.connection_string, logs, authority=trustme.CA()))
        console.print("submitting: the SDKs, then our own client ...")
        places = {PIPELINES.name: plain, BATCH.name: tls}
        drivers = [
            stack.enter_context(Driver(sdk.name, [str(python), str(sdk.folder / "driver.py")], places[sdk.name], logs))
            for sdk, python in ready
        ]
        seen = {driver.name: attempted(driver, outcome) for driver in drivers}
        command = [sys.executable, "-m", "tests.conformance_worker"]
        own = attempted(stack.enter_context(Driver("our own client", command, plain, logs)), outcome)
    for sdk, _ in ready:
        if (told := seen[sdk.name]) and own:
            judge(sdk, told, own, outcome)
    return outcome


def upload(storage: str) -> None:
    """Put the data that is trained on where the submissions, and the pipelines' defaults, say it is."""
    content = generate("us", 600, 1)
    with BlobServiceClient.from_connection_string(storage) as service:
        container = service.create_container(DATASTORE.container)
        for path in (CASE["path"], INPUT.path):
            container.upload_blob(str(path), content)


class Place(NamedTuple):
    """A running workspace."""

    url: str
    authority: Path | None
    """The certificate to trust; None: plain HTTP."""

    def control(self, what: str) -> Any:
        """Read /_control/{what}."""
        with requests.Session() as session:
            session.trust_env = False
            verify = str(self.authority) if self.authority else True
            answer = session.get(f"{self.url}/_control/{what}", verify=verify, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def environment(self) -> dict[str, str]:
        """Return what lets an unmodified client find its identity there, and trust the certificate."""
        info = self.control("info")
        found = {"IDENTITY_ENDPOINT": info["identity_endpoint"], "IDENTITY_HEADER": info["identity_header"]}
        if self.authority:
            found |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.authority))
        return found


@contextlib.contextmanager
def workspace(name: str, storage: str, logs: Path, authority: trustme.CA | None = None) -> Iterator[Place]:
    """Run a stand-in, over TLS with a certificate of an authority: azure-core sends no token over plain HTTP."""
    command = [sys.executable, "-m", "local.workspace", "--port", "0", "--storage", storage]
    log, root = logs / f"{name}.log", logs / "authority.pem"
    if authority:
        certificate = logs / "server.pem"
        certificate.write_bytes(authority.issue_cert(HOST).private_key_and_cert_chain_pem.bytes())
        root.write_bytes(authority.cert_pem.bytes())
        command += ["--certificate", str(certificate)]
    with Child(name, command, log=log, cwd=ROOT) as child:
        child.wait_until(lambda: "workspace ready " in log.read_text())
        yield Place(log.read_text().partition("workspace ready ")[2].split()[0], root if authority else None)


class Driver(Child):
    """A client at work, in a process of its own."""

    def __init__(self, name: str, command: Sequence[str], place: Place, logs: Path) -> None:
        """Start it; all drivers are given the workspace's address, the case, and a file for what they see."""
        self.place = place
        front = logs / name.replace(" ", "-")
        case, self.file = front.with_suffix(".case.json"), front.with_suffix(".seen.json")
        case.write_text(json.dumps(CASE), encoding="utf-8")
        words = [*command, place.url, str(case), str(self.file)]
        environment = {**place.environment(), "GIT_DIR": os.devnull}  # the SDK would send what it finds of the project
        super().__init__(name, words, log=front.with_suffix(".log"), env=environment, cwd=ROOT)

    def seen(self) -> Seen:
        """Wait for its end; return what it saw. Raises ChildFailedError."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise ChildFailedError(f"{self.name} did not end within {PATIENCE_S} s.\n{self.log_tail()}") from None
        if code:
            self.check()
        told = json.loads(self.file.read_text(encoding="utf-8"))
        received = {one["run_id"]: one for one in self.place.control("runs")}
        return Seen(told.get("facts", {}), told["runs"], received)


def attempted(driver: Driver, outcome: Outcome) -> Seen | None:
    """Wait for a driver; return what it saw. One that cannot go on is a check that fails."""
    try:
        return driver.seen()
    except ChildFailedError as error:
        outcome.checks.append(Check(driver.name, ok=False, told=str(error)))
        return None


def judge(sdk: Sdk, seen: Seen, own: Seen, outcome: Outcome) -> None:
    """Add to the outcome: what the SDK saw, and how our own submissions differ from its own."""
    outcome.checks.extend(facts(sdk.name, sdk.expected, seen.facts))
    if sdk is BATCH:
        outcome.checks.append(sticky(seen))
    for kind in sdk.kinds:
        found = differences(kind, seen.sent(kind), own.sent(kind.partition(",")[0]), EXPLAINED)
        outcome.differences.extend(found)
        outcome.checks.append(compared(kind, len(seen.sent(kind)), found, EXPLAINED))


def facts(name: str, expected: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Return a check for each that is expected: every fact of it is as it is to be, and there are no others."""
    checks = []
    for check in dict.fromkeys([*expected, *seen]):
        wanted, told = expected.get(check, {}), seen.get(check, {})
        wrong = [
            f"{fact}: expected {wanted.get(fact, 'nothing')!r}, was {told.get(fact, 'nothing')!r}"
            for fact in dict.fromkeys([*wanted, *told])
            if fact not in wanted or fact not in told or wanted[fact] != told[fact]
        ]
        checks.append(Check(f"{name}: {check}", ok=not wrong, told="; ".join(wrong) or ", ".join(wanted)))
    return checks


def sticky(seen: Seen) -> Check:
    """The SDK's second invocation named no deployment, and went to the one of the first: its headers are shared.

    A reason more for sending the pin with each request. When this fails the SDK has mended it.
    """
    went = seen.received[seen.runs["second invocation"]]["version"]
    told = f"an invocation without a deployment, after one with {CASE['deployment']}, went to {went}"
    return Check(f"{BATCH.name}: pins what nobody has pinned", ok=went == CASE["deployment"], told=told)


def compared(kind: str, count: int, found: Sequence[Difference], explained: Sequence[Explained]) -> Check:
    """Return whether each difference is explained, and each explanation is of one."""
    wrong = [f"{one.field} differs ({one.how}) and nobody says why" for one in found if not one.why]
    gone = stale(kind, found, explained)
    wrong += [f"{one.field} is explained ({one.how}) and does not differ so any more" for one in gone]
    same = count - sum(one.how != "only ours" for one in found)
    told = "; ".join(wrong) or f"{same} fields the same, {len(found)} different, each explained"
    return Check(f"sent by both: {kind}", ok=not wrong, told=told)


def show(outcome: Outcome, console: Console) -> None:
    """Print the checks, and the differences with their reasons."""
    width = max((len(check.name) for check in outcome.checks), default=0)
    for check in outcome.checks:
        word = "ok" if check.ok else "skipped" if check.skipped else "FAIL"
        console.print(f"{word:<8} {check.name:<{width}}  {check.told}", markup=False)
    if not outcome.differences:
        return
    reasons = dict[tuple[str, str], list[Difference]]()
    for one in outcome.differences:
        reasons.setdefault((one.how, one.why or "NOT EXPLAINED"), []).append(one)
    console.print("\nWhere our own submission differs from the SDK's:", markup=False)
    for (how, why), about in reasons.items():
        names, kinds = (", ".join(dict.fromkeys(one[index] for one in about)) for index in (1, 0))
        console.print(f"  {names}\n    {how}, {kinds}: {why}", markup=False)
