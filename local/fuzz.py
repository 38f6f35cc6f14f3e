"""`./retrain fuzz`: odd requests by the thousand, to the app's HTTP API and to the built-in host; none may be a 5xx.

Everything is drawn from one seed, so that what was found can be found again. Afterwards an upload must still become a
run. Never talks to anything but a stack of its own.
"""

import http.client
import json
import random
import string
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
import requests
from azure.storage.blob import ContainerClient
from rich.console import Console

from local.process import HOST
from local.stack import BLOB_WEBHOOK, CONTAINER, Ports, Stack

CLIENTS = 4
PATIENCE_S = 60.0
SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "income.csv"
HOOK = BLOB_WEBHOOK.partition("?")[0]
ROUTES = [  # with the right method, which most requests have
    *[("POST", "/api/retrain"), ("POST", "/api/retrain"), ("GET", "/api/retrains"), ("GET", "/api/status")],
    *[("POST", "/api/redrive"), ("GET", "/api/retrains/{key}"), ("POST", "/api/retrains/{key}/redrive")],
    *[("POST", "/api/retrains/{key}/close"), ("POST", HOOK), ("POST", HOOK), ("POST", "/admin/functions/{name}")],
    *[("GET", "/admin/host/status"), ("GET", "/{name}"), ("GET", "/api/why"), ("GET", "/api/openapi.json")],
    *[("POST", "/api/retrains/{key}/cancel"), ("POST", "/api/resume"), ("GET", "/api/health")],  # a pause would last
]
ACCEPTED = ["*/*", "*/*", "application/json", "text/html", "text/html,*/*;q=0.8"]  # browsers get pages
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
KEYS = ["path", "datastore", "rule", "parameters", "force", "state", "since", "limit", "dry_run", "reason", "code"]
WORDS = [
    *("training", "income-files", "income/us/a.csv", "income/us/b.csv", "failed", "2d", "true", "false", "1", "0"),
    *("", " ", ".", "..", "/", "//", "%", "%00", "%2e%2e", "\\", "\x00", "\n", "\x7f", "\x85", "\u2028", "\u202e"),
    *("\ud800", "😀", "é", "a" * 1025, "a" * 20_000, "9" * 4301, "-1", "1e999", "NaN", "null", "../../etc", "a.csv."),
    *("https://a.blob.core.windows.net/training-data/income/us/a.csv", "arrive_training", "Host.Functions.bury"),
    *("20261123T164500Z-" + "0" * 32, "20261123T164500Z-" + "a" * 9000, "99999999T999999Z-0", "h|0", "o|x"),
]


class Sent(NamedTuple):
    """One request."""

    method: str
    target: bytes
    """As it goes on the wire, below the host."""
    headers: dict[str, str]
    body: bytes


def fuzz(*, count: int, seed: int, as_json: bool) -> int:
    """Send `count` requests; return the exit code, 0 when no answer was a 5xx and an upload became a run."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    logs = Path(__file__).parents[1] / ".retrain" / "logs" / "fuzz"
    with Stack(Ports.free(), logs=logs, host="builtin", say=lambda line: console.print(f"  {line}")) as stack:
        requests.post(f"{stack.workspace_url}/_control/settings", json={"engine": "instant"}, timeout=10)
        container = ContainerClient.from_connection_string(stack.storage, CONTAINER)
        with container:
            for name in ("income/us/a.csv", "income/us/b.csv"):
                container.upload_blob(name, SAMPLE.read_bytes())
            statuses, bad = send_all(stack.ports.app, count, seed)
            works = starts_a_run(stack, container)
    told = {"requests": count, "seed": seed, "statuses": statuses, "bad": bad, "upload_works": works}
    if as_json:
        print(msgspec.json.encode(told).decode())
    else:
        print(f"{count:,} requests, seed {seed}: {', '.join(f'{n:,} x {code}' for code, n in statuses.items())}")
        print("\n".join(bad) if bad else "none was a 5xx")
        print(f"an upload afterwards {'became a run' if works else 'became NO run'}")
    return 0 if works and not bad else 1


def send_all(port: int, count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Send the requests, several at a time; return how often each status came, and what was answered with a 5xx."""
    statuses, bad, lock = Counter[int](), list[str](), threading.Lock()

    def share(number: int) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        for sent in drawn(random.Random(seed * CLIENTS + number), count // CLIENTS):
            status, text = answer_of(connection, sent)
            with lock:
                statuses[status] += 1
                if status >= 500 or status == 0:
                    asked = f"{sent.method} {sent.target[:300]!r} {sent.headers} {sent.body[:300]!r}"
                    bad.append(f"{status} {asked}: {text}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(share, range(CLIENTS)))
    return {str(status): number for status, number in sorted(statuses.items())}, bad[:50]


def answer_of(connection: http.client.HTTPConnection, sent: Sent) -> tuple[int, str]:
    """Send one request; return the status (0: the connection broke) and the beginning of the answer."""
    try:
        connection.putrequest(sent.method, sent.target.decode("latin-1"))
        for name, value in {**sent.headers, "Content-Length": str(len(sent.body))}.items():
            connection.putheader(name, value.encode("utf-8", "surrogatepass"))
        connection.endheaders(sent.body)
        response = connection.getresponse()
        return response.status, response.read()[:300].decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return (0, repr(error)) if not isinstance(error, http.client.InvalidURL | ValueError) else (-1, "")


def drawn(dice: random.Random, count: int) -> Iterator[Sent]:
    """Yield requests: mostly near to what is right, for what is far off is refused early."""
    for _ in range(count):
        method, route = dice.choice(ROUTES)
        for place in ("{key}", "{name}"):
            route = route.replace(place, quote(word(dice), safe="", errors="surrogatepass"))
        target = route + (f"?{query(dice, route)}" if dice.random() < 0.6 else "")
        form = "application/x-www-form-urlencoded"
        kinds = ["application/json", "text/plain", "text/json; charset=utf-16", form, ""]
        headers = {"Content-Type": dice.choice(kinds), "Accept": dice.choice(ACCEPTED)}
        if route == HOOK:
            kinds = ["Notification"] * 6 + ["SubscriptionValidation", "Unsubscribe", "x"]
            headers["aeg-event-type"] = dice.choice(kinds)
        method = method if dice.random() < 0.9 else dice.choice(METHODS)
        yield Sent(method, target.encode("ascii", "replace"), headers, body(dice, route))


def query(dice: random.Random, route: str) -> str:
    """Return a query; names and values may be anything."""
    known = ["functionName"] if route == HOOK else KEYS
    pairs = [(dice.choice([*known, word(dice)]), word(dice)) for _ in range(dice.randint(1, 3))]
    if route == HOOK and dice.random() < 0.7:
        pairs = [("functionName", dice.choice(["Host.Functions.arrive_training", word(dice)]))]
    return urlencode(pairs, errors="surrogatepass") if dice.random() < 0.9 else "&".join(name for name, _ in pairs[:1])


def body(dice: random.Random, route: str) -> bytes:
    """Return a body: none, JSON that is nearly right, or anything at all."""
    match dice.randrange(10):
        case 0:
            return b""
        case 1:
            return dice.randbytes(dice.randrange(200))
        case 2:
            deep = dice.choice([10, 5000, 100_000])
            return dice.choice([b"[" * deep, b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep])
        case 3:
            return b'{"path": "a", "path": "b"}' if dice.random() < 0.5 else b'{"path": "income/us/a.csv"'
    of_events = route == HOOK or (route == "/api/retrain" and dice.random() < 0.4)
    value = event(dice) if of_events else call(dice)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def call(dice: random.Random) -> Any:
    """Return something like the body of a call."""
    if dice.random() < 0.1:
        return anything(dice)
    right: dict[str, Any] = {"path": "income/us/a.csv", "datastore": "training"} if dice.random() < 0.5 else {}
    return {**right, **{dice.choice([*KEYS, word(dice)]): anything(dice) for _ in range(dice.randint(0, 3))}}


def event(dice: random.Random) -> Any:
    """Return something like events of Event Grid."""
    name = quote(word(dice), errors="surrogatepass")
    data: Any = {"url": f"http://{HOST}:10000/devstoreaccount1/{CONTAINER}/income/{name}", "eTag": "0x1"}
    for key in ("url", "eTag", "blobType"):
        if dice.random() < 0.2:
            data[key] = anything(dice)
    made: Any = {"eventType": "Microsoft.Storage.BlobCreated", "data": data if dice.random() < 0.9 else anything(dice)}
    return dice.choice([made, [made], [made, made], [], anything(dice), [anything(dice)]])


def anything(dice: random.Random, depth: int = 2) -> Any:
    """Return any JSON value."""
    plain: list[Any] = [
        None,
        True,
        False,
        0,
        -1,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        [],
        {},
        word(dice),
        word(dice),
    ]
    if depth and dice.random() < 0.3:
        return dice.choice([[anything(dice, depth - 1)], {word(dice): anything(dice, depth - 1)}])
    return dice.choice(plain)


def word(dice: random.Random) -> str:
    """Return a text: one that is known to be odd, or a few characters of any script."""
    if dice.random() < 0.8:
        return dice.choice(WORDS)
    return "".join(dice.choice([chr(dice.randrange(0xD800)), dice.choice(string.punctuation)]) for _ in range(5))


def starts_a_run(stack: Stack, container: ContainerClient) -> bool:
    """Tell whether an upload becomes exactly one run, as on any day."""
    name = "income/us/after.csv"
    container.upload_blob(name, SAMPLE.read_bytes())
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        runs = requests.get(f"{stack.workspace_url}/_control/runs", timeout=10).json()
        if found := [run for run in runs if name in json.dumps(run["body"])]:
            return len(found) == 1
        time.sleep(0.1)
    return False
