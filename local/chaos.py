"""`./retrain chaos`: many uploads, each announced three times, while apps die and submissions go wrong. One run each?

Two apps on one storage scan the container; a stand-in of Event Grid tells one of them of each upload, and so does a
caller of POST /api/retrain. Meanwhile they are killed with SIGKILL and started again, tokens expire, and a fifth of
all submissions meets a fault: refused, dropped, accepted without an answer, too late, throttled. Then the faults end,
the apps stay up, and all has to settle.

The judge is what the workspace accepted. The app is only asked what it says of its open work, and at the end, by
announcing every upload once more, what it says of each: that must start nothing, and tells what is held from what is
lost.

Which upload meets what, and who is killed when, follows from the seed, as far as processes can be made to repeat
themselves. Never touches a real account: free ports, in memory, on loopback.
"""

import itertools
import json
import logging
import random
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import stamina
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from rich.table import Table

from local.demo import DATASTORE, pinned_version
from local.events import Blob, EventGrid, HandshakeError, Subscription
from local.process import HOST, Child, ChildFailedError, free_ports
from local.stack import (
    BLOB_WEBHOOK,
    CONTAINER,
    LOGS,
    Ports,
    PortTakenError,
    Stack,
    blob_functions,
    get_json,
    interruptible,
)

# The app's timer: every other second; with many blobs, which it lists each time, less often.
SCHEDULE, MANY, SCHEDULE_OF_MANY = "*/2 * * * * *", 500, "*/5 * * * * *"
FAULTY = 0.2  # of all submissions
TOKEN_LIFE_S = 20
UPLOADS_PER_S, LOAD_AT_LEAST_S = 12.0, 8.0
CALLERS = 16
GAP_S = (0.5, 3.0)  # between a start and the next kill; longer later on, since each start costs a core for two seconds
LONGER_S, LONGEST_S = 2.0, 16.0
DOWN_S = (0.0, 2.0)  # between a kill and the start
KILLS_AT_LEAST = 2
BOTH = 0.15  # of the kills end both apps
LOOK_S = 1.0
CALM_S = 6.0  # nothing must happen any more for so long
PATIENCE_S = 300.0  # for settling; a submission that is put off waits for a minute, then two
GIVEN_UP_S = 900.0  # for the uploads and all announcements


class ChaosError(RuntimeError):
    """The judgement cannot be made; the message says why."""


def grace_s(list_lag_s: float) -> int:
    """Return the app's grace period: the time a run may take to show up in the lists after it was sent.

    The app sends within four fifths of it at the latest; an answer that is late by half a second, and the lag of the
    lists, have to fit into what is left.
    """
    return max(10, round(5 * (list_lag_s + 1)))


def fault_mix(grace: float) -> list[dict[str, Any]]:
    """Return what may happen to a submission; `times` says how often, one kind beside the other."""
    late = grace / 5 + 0.5  # the app waits for an answer for a fifth of its grace period
    return [
        {"on": "submit", "kind": "status", "status": 500, "times": 2},
        {"on": "submit", "kind": "status", "status": 503, "times": 2},
        {"on": "submit", "kind": "status", "status": 500, "accept": True, "times": 2},
        {"on": "submit", "kind": "status", "status": 503, "accept": True, "times": 2},
        {"on": "submit", "kind": "drop", "times": 3},
        {"on": "submit", "kind": "accept_then_drop", "times": 3},
        {"on": "submit", "kind": "delay", "delay_s": 0.5, "times": 2},
        {"on": "submit", "kind": "delay", "delay_s": late, "times": 2},
        {"on": "submit", "kind": "status", "status": 429, "retry_after": 1, "times": 2},
    ]


@dataclass
class Report:
    """What came of it; the names are those of `--json`."""

    arrivals: int
    submissions: int = 0
    lost: list[str] = field(default_factory=list)
    """Blobs without a run that the app does not hold either."""
    doubled: list[str] = field(default_factory=list)
    """Blobs with more than one run."""
    uncertain: int = 0
    held: int = 0
    kills: int = 0
    faults: int = 0
    settle_s: float = 0
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        return vars(self) | {"lost": len(self.lost), "doubled": len(self.doubled), "settle_s": round(self.settle_s, 1)}


class Chaos:
    """One run of it: `load`, `settle`, `judge`."""

    def __init__(
        self, stack: Stack, console: Console, *, arrivals: int, seed: int, list_lag_s: float, keys: bool
    ) -> None:
        self.stack, self.console, self.keys = stack, console, keys
        self.grace = grace_s(list_lag_s)
        self.list_lag_s = list_lag_s
        self.blobs = [f"income/{'us' if number % 2 else 'non-us'}/{number:05}.csv" for number in range(arrivals)]
        self.ports = [stack.ports.app, free_ports()]
        self.urls = [f"http://{HOST}:{port}" for port in self.ports]
        self.report = Report(arrivals, seed=seed)
        self.calls = list[Future[str]]()  # one an upload
        self._local = threading.local()
        self._over = threading.Event()

    def run(self) -> None:
        """Do it all. Raises ChildFailedError, ChaosError, requests.RequestException."""
        self.control("settings", engine="instant", token_lifetime_s=TOKEN_LIFE_S)
        self.control("settings", list_lag_s=self.list_lag_s, give_back_keys=self.keys)
        for port in self.ports:
            self.start(port)
        self.load()
        unsettled = self.settle()
        self.judge()
        if unsettled:
            raise ChaosError(unsettled)

    def chance(self, about: str) -> random.Random:
        """Return the dice for one purpose: what happens elsewhere does not change how they fall."""
        return random.Random(f"{self.report.seed} {about}")

    def start(self, port: int) -> None:
        """Start an app, or start it again."""
        schedule = SCHEDULE if len(self.blobs) <= MANY else SCHEDULE_OF_MANY
        self.stack.start_app(port, RETRAIN_GRACE=f"{self.grace}s", RETRAIN_TIMER_SCHEDULE=schedule)

    # Load

    def load(self) -> None:
        """Upload and announce everything, with faults and kills, until all uploads are made and announced."""
        function = blob_functions({"TRAINING_CONTAINER": CONTAINER})[CONTAINER]
        hooks = [f"{url}{BLOB_WEBHOOK}{function}" for url in self.urls]
        seed = self.report.seed
        with EventGrid(self.stack.storage, [Subscription(hooks)], speed=20, disorder=0.1, seed=seed, wait_s=10) as grid:
            self.control("odds", rate=FAULTY, seed=seed, faults=fault_mix(self.grace))
            with ThreadPoolExecutor(CALLERS + 1, "load") as pool:
                uploads = pool.submit(self.upload, grid, pool)
                try:
                    self.kill_until(lambda: uploads.done() and all(call.done() for call in self.calls))
                    uploads.result()
                    fates = Counter(call.result() for call in self.calls)
                finally:
                    self._over.set()
                    pool.shutdown(cancel_futures=True)
            counted = self.control("odds", rate=0)
            self.report.faults = counted["hits"]
            self.say(f"calls by their end: {dict(fates)}; faults and kills end here")
            self.wait_until(lambda: grid.pending == 0, PATIENCE_S, lambda: f"{grid.pending} events were not delivered")

    def upload(self, grid: EventGrid, pool: ThreadPoolExecutor) -> None:
        """Upload all blobs at an even pace; announce each by Event Grid at once, and by HTTP when a caller is free."""
        pause = max(1 / UPLOADS_PER_S, LOAD_AT_LEAST_S / len(self.blobs))
        begun = time.monotonic()
        with BlobServiceClient.from_connection_string(self.stack.storage) as service:
            for number, name in enumerate(self.blobs):
                client = service.get_blob_client(CONTAINER, name)
                text = f"age,income\n{number},50000\n".encode()
                written = client.upload_blob(text)
                grid.publish(Blob(CONTAINER, name, written["etag"].strip('"'), len(text), written["last_modified"]))
                self.calls.append(pool.submit(self.call, name))
                if self._over.wait(max(0.0, begun + (number + 1) * pause - time.monotonic())):
                    return

    def call(self, name: str) -> str:
        """Announce one upload over HTTP, as a caller who tries a few times, at either app, and then gives up.

        Raises ChaosError when an app says that the call is at fault.
        """
        chance = self.chance(f"call {name}")
        self._over.wait(chance.uniform(0, 0.3))
        try:
            answer = again(lambda: self.announce(name, chance.choice(self.urls)))
        except requests.RequestException:
            return "given up"  # scan, Event Grid and the app's own search have to do
        return str(answer["state"])

    def announce(self, name: str, url: str) -> dict[str, Any]:
        """POST /api/retrain. Raises RequestException for no answer or 5xx, ChaosError for any other answer but 2xx."""
        body = {"datastore": DATASTORE, "path": name}
        answer = self.session().post(f"{url}/api/retrain", json=body, timeout=(2, 30))
        if 300 <= answer.status_code < 500:
            raise ChaosError(f"{url} answers {answer.status_code} to {body}: {answer.text[:500]}")
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def kill_until(self, done: Callable[[], bool]) -> None:
        """Kill apps and start them again until `done()`, as planned by the seed. Runs in the main thread."""
        deadline = time.monotonic() + GIVEN_UP_S
        for gap, victims, down in self.plan():
            time.sleep(gap)
            if done() and self.report.kills >= KILLS_AT_LEAST:
                return
            if time.monotonic() > deadline:
                raise ChaosError(f"After {GIVEN_UP_S:.0f} s {self.progress()}.")
            for name in ("storage", "workspace"):
                self.stack.children[name].check()
            for port in victims:
                self.child(port).kill()
                self.report.kills += 1
            time.sleep(down)
            for port in victims:
                self.start(port)
            self.say(self.progress())

    def plan(self) -> Iterator[tuple[float, list[int], float]]:
        """Yield when to kill next (after so many seconds), which apps, and for how long they are gone."""
        chance = self.chance("kills")
        for number in itertools.count():
            longer = min(number * LONGER_S, LONGEST_S)
            victims = self.ports if chance.random() < BOTH else [chance.choice(self.ports)]
            yield chance.uniform(GAP_S[0], GAP_S[1] + longer), victims, chance.uniform(*DOWN_S)

    def child(self, port: int) -> Child:
        return self.stack.children["app" if port == self.stack.ports.app else f"app-{port}"]

    # Settling

    def settle(self) -> str:
        """Wait until no work is open, each blob has a run or none to come, and nothing happens any more.

        Return what is missing for that when patience is over, else nothing.
        """
        begun = time.monotonic()
        changed, before = begun, tuple[int, int | None]((-1, None))
        deadline = begun + PATIENCE_S + self.grace
        while True:
            self.stack.check()
            runs, work = self.accepted(), self.open_work()
            now = (len(runs), work)
            if now != before:
                changed, before = time.monotonic(), now
                self.say(f"{len(runs)} runs, {'?' if work is None else work} open")
            self.report.settle_s, calm = changed - begun, time.monotonic() - changed
            # What is without a run, and nobody's work either, may yet be found by the app's search.
            if (
                work == 0
                and calm > CALM_S
                and (calm > CALM_S + self.grace + 4 or {*self.blobs} <= {*runs} | self.held())
            ):
                return ""
            if time.monotonic() > deadline:
                return (
                    f"{deadline - begun:.0f} s after the last fault {'?' if work is None else work} requests were open."
                )
            time.sleep(LOOK_S)

    def open_work(self) -> int | None:
        """Return how many requests are not at their end, as the app says; None when it does not."""
        status, body = get_json(f"{self.urls[0]}/api/status")
        return sum(body["open"].values()) if status == 200 else None

    def held(self) -> set[str]:
        """Return the blobs that the app holds for an operator, as far as its list goes: the newest thousand."""
        status, body = get_json(f"{self.urls[0]}/api/retrains?limit=1000")
        return {one["path"] for one in body["retrains"] if one["state"] == "held"} if status == 200 else set()

    # Judgement

    def judge(self) -> None:
        """Count by what the workspace accepted; then ask the app about every blob, which must start nothing."""
        runs = self.accepted()
        self.say(f"{len(runs)} runs; announcing every upload once more")
        states = self.roll_call()
        unknown = sorted({*runs} - {*self.blobs})
        if unknown:
            raise ChaosError(f"There are runs for what was never uploaded: {', '.join(unknown[:5])}.")
        report, afterwards = self.report, self.accepted()
        known = {"held", "uncertain", "waiting", "sending"}
        report.lost = [name for name in self.blobs if name not in runs and states[name] not in known]
        report.doubled = [name for name in self.blobs if len(afterwards.get(name, ())) > 1]
        report.submissions = sum(len(found) for found in afterwards.values())
        counted = Counter(states.values())
        report.held, report.uncertain = counted["held"], counted["uncertain"]
        self.say(f"the ledger says: {dict(counted)}")
        pinned = pinned_version()
        astray = [run["run_id"] for found in afterwards.values() for run in found if run["version"] != pinned]
        if astray:
            raise ChaosError(f"{len(astray)} runs are not of the pinned version {pinned}: {', '.join(astray[:5])}.")

    def roll_call(self) -> dict[str, str]:
        """Announce every blob once more; return the state of its request, `lost` when only this has made it."""

        def ask(item: tuple[int, str]) -> tuple[str, str]:
            number, name = item
            answer = again(lambda: self.announce(name, self.urls[number % 2]), patience_s=PATIENCE_S)
            return name, answer["state"] if answer.get("duplicate") else "lost"

        with ThreadPoolExecutor(CALLERS, "roll-call") as pool:
            return dict(pool.map(ask, enumerate(self.blobs)))

    def accepted(self) -> dict[str, list[dict[str, Any]]]:
        """Return the submissions that the workspace accepted, by the blob they are about."""
        found = defaultdict[str, list[dict[str, Any]]](list)
        url = f"{self.stack.workspace_url}/_control/runs"
        for run in again(lambda: self.session().get(url, timeout=60)).json():
            found[run["body"]["DataPathAssignments"]["input_data"]["RelativePath"]].append(run)
        return found

    # Tools

    def control(self, what: str, **order: Any) -> dict[str, Any]:
        """Steer the workspace."""
        answer = self.session().post(f"{self.stack.workspace_url}/_control/{what}", json=order, timeout=60)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def session(self) -> requests.Session:
        """Return this thread's connections."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        session: requests.Session = self._local.session
        return session

    def wait_until(self, done: Callable[[], bool], patience_s: float, otherwise: Callable[[], str]) -> None:
        """Wait until `done()`. Raises ChaosError."""
        deadline = time.monotonic() + patience_s
        while not done():
            if time.monotonic() > deadline:
                raise ChaosError(f"For {patience_s:.0f} s {otherwise()}.")
            time.sleep(0.1)

    def say(self, line: str) -> None:
        """Tell of the progress."""
        self.console.print(f"  {line}", markup=False)

    def progress(self) -> str:
        """Return how far the load is."""
        called = sum(call.done() for call in self.calls)
        return f"{len(self.calls)} uploaded, {called} called, {self.report.kills} kills"


def again[T](call: Callable[[], T], patience_s: float = 20) -> T:
    """Return what `call()` returns, tried a few times. Raises RequestException when none of them was answered well."""
    pauses = {"wait_initial": 0.3, "wait_max": 3.0}
    for attempt in stamina.retry_context(requests.RequestException, attempts=4, timeout=patience_s, **pauses):
        with attempt:
            answer = call()
    return answer


def chaos(*, arrivals: int, seed: int, list_lag_s: float, keys: bool, as_json: bool) -> int:
    """Do it; return the exit code. With `as_json` stdout gets one JSON object and nothing else."""
    begun = time.monotonic()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    stamina.instrumentation.set_on_retry_hooks([])  # that calls and deliveries fail is what this is about
    logging.getLogger("events").setLevel(logging.ERROR)
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="chaos-", dir=LOGS))
    story, fault = None, ""
    try:
        with (
            interruptible(),
            Stack(
                Ports.free(),
                logs=logs,
                parts=["storage", "workspace"],
                host="builtin",
                say=lambda line: console.print(f"  {line}"),
            ) as stack,
        ):
            story = Chaos(stack, console, arrivals=arrivals, seed=seed, list_lag_s=list_lag_s, keys=keys)
            story.run()
    except (
        ChildFailedError,
        PortTakenError,
        HandshakeError,
        ChaosError,
        requests.RequestException,
        AzureError,
    ) as error:
        fault = str(error)
    except KeyboardInterrupt:
        fault = "interrupted"
    report = story.report if story else Report(arrivals, seed=seed)
    for what, names in (("lost", report.lost), ("doubled", report.doubled)):
        if names:
            console.print(f"{what}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}")
    if fault:
        console.print(f"No judgement after {time.monotonic() - begun:.0f} s: {fault}", markup=False)
    ok = not (fault or report.lost or report.doubled)
    if ok:
        shutil.rmtree(logs)
    else:
        console.print(f"The logs are in {logs}.")
    if as_json:
        print(json.dumps(report.as_json() | ({"error": fault} if fault else {})))
    else:
        Console(highlight=False).print(_table(report))
    console.print(f"Took {time.monotonic() - begun:.0f} s.")
    return 0 if ok else 1


def _table(report: Report) -> Table:
    """Return the figures for people."""
    table = Table("", "", title="Chaos", show_header=False)
    for name, value in report.as_json().items():
        table.add_row(name, str(value))
    return table
