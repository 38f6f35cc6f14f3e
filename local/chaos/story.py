"""The story: load with kills, faults and changes; then quiet until all has settled; then every upload is asked about.

Does what plan.py says and notes which app lived when with which configuration; judge.py judges. Never mends anything:
what the apps do not bring to its end by themselves stays as it is.
"""

import functools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import requests
import stamina
from azure.storage.blob import BlobServiceClient
from rich.console import Console

from local.chaos.configuration import AT_LEAST, Configuration, Places, configurations
from local.chaos.judge import ChaosError, Life, Report, judge
from local.chaos.plan import APPS, Absence, Step, absences, deployments, dice, kills
from local.chaos.weather import FAULTY, TOKEN_LIFE_S, fault_mix, grace_s, in_flight_s
from local.configuration import Kind
from local.demo import DATASTORE
from local.events import Blob, EventGrid, Subscription
from local.process import HOST, Child, free_ports
from local.stack import BLOB_WEBHOOK, CONTAINER, ENDPOINT, EVENTS_QUEUE, Stack, blob_functions, get_json, make_queue

# The app's timer: every other second; with many blobs, which it lists each time, less often.
SCHEDULE, MANY, SCHEDULE_OF_MANY = "*/2 * * * * *", 500, "*/5 * * * * *"
UPLOADS_PER_S, LOAD_AT_LEAST_S, WITH_CHANGES_S = 12.0, 8.0, 20.0
CALLERS = 16
KILLS_AT_LEAST = 2
NOTICED_S = 30.0  # within this, somebody submits while the role is lost
LOOK_S = 1.0
CALM_S = 6.0  # nothing must happen any more for so long
SEARCH_S = 90.0  # the longest rest of the app's search for what nobody told it of
PATIENCE_S = 300.0  # for settling; a submission that is put off waits for a minute, then two
GIVEN_UP_S = 900.0  # for the uploads and all announcements


class Chaos:
    """One run of it: `load`, `settle`, `judge`."""

    def __init__(
        self, stack: Stack, console: Console, report: Report, *, list_lag_s: float, keys: bool, kind: Kind, queue: bool
    ) -> None:
        self.stack, self.console, self.report, self.keys, self.kind = stack, console, report, keys, kind
        self.queue = queue
        self.seed, self.changes = report.seed, report.changes is not None
        self.grace = grace_s(list_lag_s)
        self.list_lag_s = list_lag_s
        self.blobs = [f"income/{'us' if number % 2 else 'non-us'}/{number:05}.csv" for number in range(report.arrivals)]
        self.ports = [stack.ports.app, free_ports()]
        self.urls = [f"http://{HOST}:{port}" for port in self.ports]
        self.deployed = [next(configurations(self.seed, kind))] * len(APPS)  # by app
        self.lives = list[Life]()
        self.living = dict[int, Life]()
        self.roles_lost = 0
        self.role_is_lost = False
        self.calls = list[Future[str]]()  # one an upload
        self._local = threading.local()
        self._over = threading.Event()

    def run(self) -> None:
        """Do it all. Raises ChildFailedError, ChaosError, requests.RequestException."""
        self.control("settings", engine="instant", token_lifetime_s=TOKEN_LIFE_S)
        switches = {"give_back_keys": self.keys, "honour_job_names": self.keys}
        self.control("settings", list_lag_s=self.list_lag_s, **switches)
        if self.queue:
            make_queue(self.stack.storage)
        for app in APPS:
            self.start(app)
        self.load()
        unsettled = self.settle()
        self.judge()
        if unsettled:
            raise ChaosError(unsettled)

    # Apps

    def start(self, app: int) -> None:
        """Start an app, or start it again, with the configuration that is deployed to it."""
        configuration = self.deployed[app]
        settings = {
            "RETRAIN_GRACE": f"{self.grace}s",
            "RETRAIN_TIMER_SCHEDULE": SCHEDULE if len(self.blobs) <= MANY else SCHEDULE_OF_MANY,
        }
        if self.queue:
            settings["RETRAIN_EVENTS"] = "queue"
        if configuration != Configuration():
            file = self.stack.logs / f"retrain-{configuration.number}.toml"
            file.write_text(configuration.toml(self.places), encoding="utf-8")
            settings["RETRAIN_FILE"] = str(file)
        self.living[app] = Life(configuration.target(self.places), begun=time.time())
        self.lives.append(self.living[app])
        self.stack.start_app(self.ports[app], **settings)

    @functools.cached_property
    def places(self) -> Places:
        """What the workspace has."""
        endpoint = next(one["id"] for one in self.stack.info["endpoints"] if one["name"] == ENDPOINT)
        [batch] = self.stack.info["batch_endpoints"]
        return Places(endpoint, batch["name"], batch["url"])

    def end(self, app: int, *, soft: bool) -> None:
        """Kill an app, or ask it to end."""
        child = self.child(app)
        if soft:
            child.stop()
        else:
            child.kill()
        self.living[app].ended = time.time()
        self.report.kills += 1

    def child(self, app: int) -> Child:
        """Return an app's process."""
        port = self.ports[app]
        return self.stack.children["app" if port == self.stack.ports.app else f"app-{port}"]

    # Load

    def load(self) -> None:
        """Upload and announce everything, with faults, kills and changes, until all of it is made and announced."""
        function = blob_functions({"TRAINING_CONTAINER": CONTAINER})[CONTAINER]
        hooks = [f"{url}{BLOB_WEBHOOK}{function}" for url in self.urls]
        seed, often = self.seed, 1 if self.queue else 0
        to = Subscription(queue=EVENTS_QUEUE) if self.queue else Subscription(hooks)
        with EventGrid(
            self.stack.storage, [to], speed=20, duplicates=often, disorder=0.1, seed=seed, wait_s=10
        ) as grid:
            self.control("odds", rate=FAULTY, seed=seed, faults=fault_mix(self.grace))
            with ThreadPoolExecutor(CALLERS + 2, "load") as pool:
                jobs = [pool.submit(self.upload, grid, pool)]
                if self.changes:
                    jobs.append(pool.submit(self.lose_roles, jobs[0]))
                try:
                    self.kill_until(lambda: self.loaded(jobs))
                    fates = Counter(call.result() for call in self.calls)
                finally:
                    self._over.set()
                    pool.shutdown(cancel_futures=True)
                for job in jobs:
                    job.result()
            counted = self.control("odds", rate=0)
            self.report.faults = counted["hits"]
            self.say(f"calls by their end: {dict(fates)}; faults and kills end here")
            self.wait_until(lambda: grid.pending == 0, PATIENCE_S, lambda: f"{grid.pending} events were not delivered")

    def loaded(self, jobs: list[Future[None]]) -> bool:
        """Tell whether the load may end. Raises what one of the `jobs`, uploading first, was ended by."""
        for job in jobs:
            if job.done():
                job.result()
        if not (jobs[0].done() and all(call.done() for call in self.calls) and self.report.kills >= KILLS_AT_LEAST):
            return False
        if not self.changes:
            return True
        changed = max(one.number for one in self.deployed) >= AT_LEAST
        return changed and self.roles_lost > 0 and not (self.role_is_lost or any(one.absent for one in self.deployed))

    def upload(self, grid: EventGrid, pool: ThreadPoolExecutor) -> None:
        """Upload all blobs at an even pace; announce each by Event Grid at once, and by HTTP when a caller is free."""
        pause = max(1 / UPLOADS_PER_S, (WITH_CHANGES_S if self.changes else LOAD_AT_LEAST_S) / len(self.blobs))
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
        chance = dice(self.seed, f"call {name}")
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
        for step in self.plan():
            time.sleep(step.gap_s)
            if done():
                return
            if time.monotonic() > deadline:
                raise ChaosError(f"After {GIVEN_UP_S:.0f} s {self.progress()}.")
            for name in ("storage", "workspace"):
                self.stack.children[name].check()
            for app in step.victims:
                self.end(app, soft=step.soft)
            if step.configuration:
                self.deploy(step.configuration, step.victims)
            time.sleep(step.down_s)
            for app in step.victims:
                self.start(app)
            self.say(self.progress())

    def plan(self) -> Iterator[Step]:
        """Return the kills that the seed says."""
        if self.changes:  # the shipped configuration is there already
            return deployments(self.seed, islice(configurations(self.seed, self.kind), 1, None))
        return kills(self.seed)

    def deploy(self, configuration: Configuration, apps: tuple[int, ...]) -> None:
        """Note what these apps come back with."""
        if configuration not in self.deployed:
            self.report.changes = (self.report.changes or 0) + 1
        for app in apps:
            self.deployed[app] = configuration
        self.say(f"{configuration} (to {'both apps' if len(apps) > 1 else 'one app'})")

    # Roles

    def lose_roles(self, uploads: Future[None]) -> None:
        """Take the role away and give it back, as planned by the seed, while there are uploads. Raises ChaosError."""
        for absence in absences(self.seed):
            if self._over.wait(absence.calm_s) or (self.roles_lost and uploads.done()):
                return
            self.role_is_lost = True
            try:
                noticed = self.lose_role(absence)
            finally:
                self.control("settings", role="contributor")
            if noticed:
                self.roles_lost += 1
                self.report.changes = (self.report.changes or 0) + 1
            elif not self.roles_lost:
                raise ChaosError(f"For {NOTICED_S:.0f} s no app submitted anything while the role was lost.")
            self.role_is_lost = False
            self.say("the role is back")

    def lose_role(self, absence: Absence) -> bool:
        """Take the role away for a while; return whether a submission was refused for it."""
        self.control("settings", role="reader")
        self.say("the role is lost")
        before, begun = self.submissions_received(), time.monotonic()
        while self.submissions_received() == before:
            if self._over.wait(0.1) or time.monotonic() > begun + NOTICED_S:
                return False
        self._over.wait(max(0.0, begun + absence.reader_s - time.monotonic()))
        self.control("settings", role="none")
        self._over.wait(absence.none_s)
        return True

    def submissions_received(self) -> int:
        """Return how many submissions reached the workspace, refused ones too."""
        return int(self.look("requests")["submit"])

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
                and (calm > CALM_S + self.grace + SEARCH_S or {*self.blobs} <= {*runs} | self.held())
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
        """Ask the app about every blob, which must start nothing, and judge by what the workspace accepted."""
        before = self.accepted()
        self.say(f"{len(before)} runs; announcing every upload once more")
        states = self.roll_call()
        self.say(f"the ledger says: {dict(Counter(states.values()))}")
        judge(
            self.report,
            self.blobs,
            before=before,
            after=self.accepted(),
            states=states,
            lives=self.lives,
            in_flight_s=in_flight_s(self.grace),
        )
        for told in self.report.wrong.values():
            self.say(told)

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
        for run in self.look("runs"):
            found[run["data_paths"]["input_data"]["path"]].append(run)
        return found

    # Tools

    def control(self, what: str, **order: Any) -> dict[str, Any]:
        """Steer the workspace."""
        answer = self.session().post(f"{self.stack.workspace_url}/_control/{what}", json=order, timeout=60)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def look(self, what: str) -> Any:
        """Return what the workspace tells of itself."""
        url = f"{self.stack.workspace_url}/_control/{what}"
        return again(lambda: self.session().get(url, timeout=60)).json()

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
