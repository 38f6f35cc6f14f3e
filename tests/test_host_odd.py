"""Odd input at every door of the local host: a 4xx with one line, a log that keeps its lines, a host that goes on."""

import http.client
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient

from tests.apps.running import Host, Place, eventually, running

HOOK = "/runtime/webhooks/blobs?functionName=Host.Functions.announced"
NOTIFICATION = {"aeg-event-type": "Notification"}
HOSTILE = "\n12:00:00.000 INFO    host.worker: FORGED\r\u2028\u2029\x85\x9b31m\u202e\u2066\u200f"
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def odd(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, ContainerClient]]:
    """One host for all tests of this file, and the container of its blob function."""
    place = Place(storage, tmp_path_factory.mktemp("host"))
    with BlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client(place.name)
        container.create_container()
        with running("odd", place) as host:
            yield host, container


@pytest.fixture
def host(odd: tuple[Host, ContainerClient]) -> Host:
    """The host alone."""
    return odd[0]


class Answer(NamedTuple):
    """An answer to a request sent byte by byte."""

    status: int
    text: str


def send(host: Host, method: bytes, target: bytes, body: bytes = b"", *headers: bytes) -> Answer:
    """Send what no client library would; the answer has to come over the same connection."""
    address = urlsplit(host.url)
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    lines += [] if any(line.startswith(b"Host:") for line in headers) else [b"Host: localhost"]
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        with http.client.HTTPResponse(connection, method=method.decode("latin-1")) as response:
            response.begin()
            return Answer(response.status, response.read().decode())


def event(host: Host, name: str = "a.csv", **data: Any) -> dict[str, Any]:
    """Return an event of a blob in the function's container."""
    url = f"http://127.0.0.1:10000/devstoreaccount1/{host.place.name}/{name}"
    return {"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url, "eTag": "0x1", **data}}


def one_line(text: str) -> bool:
    """Tell whether an answer's text is one line that can be printed."""
    return text.strip() != "" and text.removesuffix("\n").isprintable()


# By chance

TEXTS = [
    *(
        "",
        "a",
        "/",
        "..",
        "%",
        "%00",
        "#",
        "?",
        "\\",
        "[",
        "]:",
        "http://",
        "http://[",
        "\x00",
        "\n",
        "\x1b[2J",
        "\x85",
    ),
    *(
        "\u2028",
        "\u202e",
        "\ud800",
        "😀",
        "é",
        "a" * 1100,
        "😀" * 11_900,
        "\x01" * 11_900,
        "a" * 70_000,
        "A B/x",
        "$root/x",
    ),
    *("c/..", "../../x", "xx/y", "announced", "work", "echo", "Host.Functions.announced", "9" * 5000, "-1", "NaN"),
]
BODIES: list[Callable[[random.Random], bytes]] = [
    lambda _: b"",
    lambda dice: dice.randbytes(50),
    lambda dice: dice.choice([b"[", b'{"data":', b'[{"input":']) * dice.choice([1, 5000, 100_000]),
    lambda _: b"[" * 7000 + b"]" * 7000,
    lambda _: b'{"data": {"url": "http://a/c/x", "n": ' + b"9" * 5000 + b"}}",
    lambda dice: json.dumps(value(dice)).encode(dice.choice(["utf-8", "utf-16", "utf-32"]), "surrogatepass"),
    lambda dice: json.dumps({"input": value(dice, 1)}).encode(),
    lambda dice: json.dumps([{"data": {"url": value(dice, 0)}}]).encode(),
    lambda dice: json.dumps({"data": {name: value(dice, 1) for name in ("url", "eTag", "blobType")}}).encode(),
    lambda dice: json.dumps({"data": {"validationCode": value(dice, 1)}}).encode(),
    lambda dice: json.dumps({"data": {"url": f"http://a/c/{text(dice)}", "eTag": text(dice)}}).encode(),
    lambda dice: json.dumps({"input": f"{text(dice)}/{text(dice)}"}).encode(),
]


def text(dice: random.Random) -> str:
    """Return a text that is known to be odd, or some characters."""
    return dice.choice(TEXTS) if dice.random() < 0.8 else "".join(chr(dice.randrange(0xD800)) for _ in range(4))


def value(dice: random.Random, depth: int = 2) -> Any:
    """Return any JSON value, often a text."""
    if depth and dice.random() < 0.4:
        inner = value(dice, depth - 1)
        return dice.choice(
            [[inner], {text(dice): inner}, {"data": inner}, {"input": inner}, [{"data": {"url": inner}}]]
        )
    plain: list[Any] = [None, True, 0, -1, 1.5, 10**400, float("nan"), float("inf"), [], {}]
    return text(dice) if dice.random() < 0.7 else dice.choice(plain)


def request(dice: random.Random) -> tuple[bytes, bytes, bytes, list[bytes]]:
    """Return method, target, body and headers of a request that is mostly near to a right one."""
    part = quote(text(dice), safe=dice.choice(["", "/"]), errors="surrogatepass").encode()
    hooks = [HOOK.encode(), b"/runtime/webhooks/blobs", b"/runtime/webhooks/blobs?functionName=" + part]
    hooks += [HOOK.encode() + b"&functionName=" + part, b"/runtime/webhooks/blobs?" + part + b"=x"]
    admin = [b"/admin/functions/announced", b"/admin/functions/work", b"/admin/functions/" + part, b"/admin/" + part]
    web = [b"/api/echo/" + part, b"/api/echo?" + part, b"/" + part, b"/api/" + part, b"*", b"http://a/" + part]
    method, target = dice.choice([(b"POST", hooks), (b"POST", hooks), (b"POST", admin), (b"GET", web)])
    if dice.random() < 0.1:
        method = dice.choice([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"BREW", b"get"])
    kind = dice.choice([b"Notification"] * 5 + [b"SubscriptionValidation", b"Unsubscribe", b"\xff", b""])
    odd = [b"Content-Type: application/json", b"Content-Type: \xff", b"Content-Type: text/plain; charset=x", b"X: \x80"]
    odd += [b"traceparent: x", b"Accept: [", b"Host: localhost:[", b"Host: evil", b"Content-Length: 1", b"Expect: x"]
    odd += [
        b"WebHook-Request-Origin: \xe9",
        b"Upgrade: websocket",
        b"X-Forwarded-For: [",
        b"Origin: null",
        b"Cookie: \x01",
    ]
    headers = [b"aeg-event-type: " + kind, dice.choice(odd)] if dice.random() < 0.4 else [b"aeg-event-type: " + kind]
    return method, dice.choice(target), dice.choice(BODIES)(dice), headers


@pytest.mark.parametrize("seed", range(4))
def test_odd_requests_by_chance(host: Host, seed: int) -> None:
    """None is answered with a 5xx or by nothing; a refusal is one line; afterwards an event is taken as ever."""
    dice = random.Random(seed)
    for _ in range(250):
        method, target, body, headers = request(dice)
        try:
            answer = send(host, method, target, body, *headers)
        except ConnectionResetError:
            continue  # refused before its body was read, so that the kernel threw the answer away
        asked = method, target[:200], headers, body[:200], answer
        assert answer.status < 500, asked
        assert answer.status < 400 or method == b"HEAD" or one_line(answer.text), asked
    assert "Exception in ASGI application" not in host.log
    assert host.post(HOOK, headers=NOTIFICATION, json=[event(host)]).status_code == 202


# The webhook


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the body is no JSON: Expecting value"),
        (b"\xff", "the body is no JSON: 'utf-8' codec"),
        (b"[" * 100_000, "its JSON is nested too deep"),
        (b'{"data": {"n": ' + b"9" * 5000 + b"}}", "a number of its JSON has too many digits"),
        (b"[1]", "an event is an object"),
        (b'{"data": {}}', "data.url is ''"),
        (b'{"data": {"url": 5}}', "data.url is int; expected text"),
        (b'{"data": {"url": ["x"]}}', "data.url is list; expected text"),
        (b'{"data": {"url": "http://a/c/\\ud800"}}', "data.url has half a surrogate pair"),
        (b'{"data": {"url": "http://a/c/x", "eTag": 5}}', "data.eTag is int; expected text"),
        (b'{"data": {"url": "http://[/c/x"}}', "Invalid IPv6 URL"),
    ],
)
def test_event_that_is_none(host: Host, content: bytes, said: str) -> None:
    """400, and one line that says what is wrong with it."""
    answer = host.post(HOOK, headers=NOTIFICATION, content=content)
    assert (answer.status_code, one_line(answer.text)) == (400, True)
    assert answer.text.startswith(f"not a blob event of Event Grid: {said}")


@pytest.mark.parametrize("code", ["5", "NaN", "[1]", '"\\ud800"', "null", '""'])
def test_handshake_whose_code_is_no_text(host: Host, code: str) -> None:
    """400; nothing is given back."""
    content = f'[{{"data": {{"validationCode": {code}}}}}]'
    answer = host.post(HOOK, headers={"aeg-event-type": "SubscriptionValidation"}, content=content)
    assert (answer.status_code, "data.validationCode" in answer.text) == (400, True)


def test_longest_message_that_a_queue_takes(host: Host) -> None:
    """It is queued; one byte more is 400, and then none of its batch is queued."""
    seen = f"{host.place.name}-longest"
    blob = {"Type": "BlobTrigger", "FunctionId": "Host.Functions.announced", "BlobType": "😀" * 11_000}
    message = blob | {"ContainerName": host.place.name, "BlobName": seen, "ETag": '""'}
    left = 49_152 - len(json.dumps(message, ensure_ascii=False).encode())  # 64 KiB in base64
    fits, too_long = (event(host, seen, blobType=blob["BlobType"], eTag="e" * size) for size in (left, left + 1))
    before = event(host, "before-too-long")
    answer = host.post(HOOK, headers=NOTIFICATION, json=[before, too_long])
    assert (answer.status_code, "a queue takes 65,536" in answer.text) == (400, True)
    assert host.post(HOOK, headers=NOTIFICATION, json=[fits]).status_code == 202
    upload(host, "after-too-long")
    assert host.post(HOOK, headers=NOTIFICATION, json=[event(host, "after-too-long")]).status_code == 202
    eventually(lambda: "after-too-long" in names(host))
    assert "before-too-long" not in names(host)


def upload(host: Host, name: str) -> str:
    """Write a blob into the function's container; return its URL."""
    with BlobServiceClient.from_connection_string(host.place.storage) as service:
        return str(service.get_container_client(host.place.name).upload_blob(name, b"1", overwrite=True).url)


def names(host: Host) -> list[str]:
    """Return the blobs for which the function ran."""
    return [one["name"] for one in host.place.seen("announced")]


@pytest.mark.parametrize(
    ("query", "runs"),
    [
        ("?functionName=Host.Functions.announced", True),
        ("?FUNCTIONNAME=Host.Functions.announced", True),
        ("?functionName=Host.Functions.announced&functionName=", False),
        ("?functionName=Host.Functions.announced&functionName=Host.Functions.announced", False),
        ("?functionName=Host.Functions.ANNOUNCED", False),
        ("?functionName=announced", False),
        ("?functionName=", False),
        ("", False),
    ],
)
def test_function_name_as_the_platform_reads_it(host: Host, query: str, runs: bool) -> None:
    """The parameter's name in any case, several values as one with commas; an unknown function is 202, and lost."""
    name, last = f"named-{abs(hash(query))}.csv", f"last-{abs(hash(query))}.csv"
    sent = {"headers": NOTIFICATION, "json": [{"data": {"url": upload(host, name)}}]}
    assert host.post(f"/runtime/webhooks/blobs{query}", **sent).status_code == 202
    assert host.post(HOOK, headers=NOTIFICATION, json=[{"data": {"url": upload(host, last)}}]).status_code == 202
    eventually(lambda: last in names(host) and (name in names(host)) >= runs)
    assert (name in names(host)) == runs


# Admin


@pytest.mark.parametrize(
    ("function", "content", "said"),
    [
        ("announced", b"[]", "the body is no JSON object"),
        ("announced", b"[" * 100_000, "the body is no JSON object"),
        ("announced", b'{"input": 5}', '"input" is a JSON int'),
        ("announced", b'{"input": "c/\\ud800"}', '"input" has half a surrogate pair'),
        ("announced", b'{"input": "x"}', "\"input\" is 'x'; expected container/blob"),
        ("announced", b'{"input": "A B/x"}', 'storage refuses "input"'),
        ("announced", b'{"input": "c/.."}', 'storage refuses "input"'),
        ("announced", b'{"input": "ccc/' + b"x" * 70_000 + b'"}', '"input" has 70,004 characters'),
        ("work", b'{"input": "' + b"x" * 70_000 + b'"}', 'storage refuses "input"'),
        ("work", b'{"input": "\\ud800"}', '"input" has half a surrogate pair'),
    ],
)
def test_admin_call_with_odd_input(host: Host, function: str, content: bytes, said: str) -> None:
    """400, and one line that says what is wrong with it."""
    answer = host.post(f"/admin/functions/{function}", content=content)
    assert (answer.status_code, one_line(answer.text)) == (400, True)
    assert answer.text.startswith(said)


def test_admin_call_for_a_hostile_name(host: Host) -> None:
    """404 in one line, though the name has several."""
    answer = host.post("/admin/functions/announced", json={"input": f"{host.place.name}/a{HOSTILE}"})
    assert (answer.status_code, one_line(answer.text)) == (404, True)


# Routes


def test_line_break_in_a_path(host: Host) -> None:
    """It is a character like others: part of the rest of a path, and never overlooked at the end."""
    assert host.get("/api/echo/a%0Ab").json() == {"rest": "a\nb"}
    assert host.get("/api/answers/no-content-with-a-body").status_code == 204
    assert host.get("/api/echo%0A").status_code == 404


def test_long_path(host: Host) -> None:
    """A path of 50,000 characters reaches the function whole."""
    assert host.get(f"/api/echo/{'a' * 50_000}").json() == {"rest": "a" * 50_000}


@pytest.mark.parametrize(
    "kind",
    [
        *("status-of-five-digits", "status-zero", "status-of-a-beginning", "name-with-a-blank", "value-beyond-latin"),
        *("value-with-a-nul", "value-of-two-lines", "length-that-is-not"),
    ],
)
def test_answer_of_a_function_that_cannot_be_sent(host: Host, kind: str) -> None:
    """500 without a body, and a line in the log; the connection is not just closed."""
    answer = host.get(f"/api/answers/{kind}")
    assert (answer.status_code, answer.content, "set-cookie" in answer.headers) == (500, b"", False)
    eventually(lambda: re.search(r"ERROR   host\.(http|worker): answers ", host.log))


def test_answer_that_has_no_body_by_its_status(host: Host) -> None:
    """A 204 goes out without the body that it was given."""
    answer = host.get("/api/answers/no-content-with-a-body")
    assert (answer.status_code, answer.content) == (204, b"")


def test_caller_that_hangs_up_in_the_middle(host: Host) -> None:
    """One line in the log, and no traceback."""
    address = urlsplit(host.url)
    before = host.log.count("Traceback")
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(b"POST /admin/functions/work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nabc")
    eventually(lambda: "POST /admin/functions/work: the caller hung up" in host.log)
    assert host.log.count("Traceback") == before


# The log


def test_blob_whose_name_and_url_would_forge_the_log(odd: tuple[Host, ContainerClient], storage: str) -> None:
    """In no line of the host, of the app or of a traceback do they end a line, begin one or disguise one."""
    host, container = odd
    name = f"failing{HOSTILE}.csv"
    url = container.upload_blob(name, b"1").url
    assert host.post(HOOK, headers=NOTIFICATION, json=[{"data": {"url": url}}]).status_code == 202
    host.get(f"/api/echo/{quote(name)}?{quote(name)}")
    host.get(f"/nowhere/{quote(name)}", headers={"host": b"evil\x85"})
    host.post(f"/runtime/webhooks/blobs?functionName={quote(name)}", headers={"aeg-event-type": b"\x85"})
    host.post("/admin/functions/announced", json={"input": f"{host.place.name}/gone{HOSTILE}"})
    with QueueClient.from_connection_string(storage, f"azure-webjobs-blobtrigger-{host.place.name}") as queue:
        queue.send_message(json.dumps({"FunctionId": name, "ContainerName": "c", "BlobName": name, "ETag": ""}))
        eventually(lambda: "dropped the message for" in host.log)
    eventually(lambda: "RuntimeError: cannot read failing\n" in host.log)
    eventually(lambda: "WARNING careless: looking at failing\n" in host.log)
    assert host.log.count("FORGED") >= 5
    assert not [line for line in host.log.split("\n") if line.startswith("12:00:00.000")]
    assert not UNSEEN.findall(host.log)
