"""HTTP functions on the local host, over real HTTP: routes, requests as functions see them, responses."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.apps.running import Host, Place, eventually, running

GUID = "6f1b2a1e-8d3c-4c55-9c39-0d6cbe7f4b11"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests of this file, without any storage: HTTP functions need none."""
    place = Place("", tmp_path_factory.mktemp("host"))
    with running("web", place, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000000") as host:
        yield host


def test_a_route_parameter(host: Host) -> None:
    """It reaches the function as text, as written in the URL."""
    seen = host.get(f"/api/things/{GUID.upper()}").json()
    assert seen["route"] == {"id": GUID.upper()}
    assert seen["url"] == f"{host.url}/api/things/{GUID.upper()}"


def test_an_optional_route_parameter_is_missing(host: Host) -> None:
    """The route matches, and the parameter is not there."""
    assert host.get("/api/things").json()["route"] == {}


@pytest.mark.parametrize("path", [f"/API/Things/{GUID}", f"/api/things/{GUID}/"])
def test_another_case_and_a_slash_at_the_end(host: Host, path: str) -> None:
    """Both match, as in ASP.NET."""
    assert host.get(path).status_code == 200


def test_a_literal_segment_and_a_parameter_match(host: Host) -> None:
    """The literal one wins."""
    answer = host.get("/api/things/newest")
    assert (answer.text, answer.headers["content-type"]) == ("newest", "text/plain; charset=utf-8")


def test_int_constraint_and_catch_all_in_an_async_function(host: Host) -> None:
    """The rest of the path is one parameter, slashes included."""
    assert host.get("/api/things/12/part/a/b%20c").json()["route"] == {"id": "12", "rest": "a/b c"}


@pytest.mark.parametrize("path", ["/api/things/x1/part/a", "/api/nothing", "/things", "/"])
def test_no_route(host: Host, path: str) -> None:
    """404, also where a constraint is not met."""
    assert host.get(path).status_code == 404


def test_a_constraint_is_not_met_and_another_method_would_fit(host: Host) -> None:
    """405: the path belongs to a function of another method."""
    answer = host.get("/api/things/not-a-guid")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE")


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_a_method_that_is_not_declared(host: Host, method: str) -> None:
    """405; HEAD does not come with GET."""
    assert host.request(method, "/api/things/newest").status_code == 405


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_methods_and_no_route_declared(host: Host, method: str) -> None:
    """The function answers to all methods, at its own name."""
    assert host.request(method, "/api/anything").json()["method"] == method


def test_headers(host: Host) -> None:
    """Names arrive in lower case; repeated ones are joined."""
    headers = [("X-Mixed-Case", "Value"), ("X-Twice", "1"), ("X-Twice", "2")]
    seen = host.get("/api/anything", headers=headers).json()["headers"]
    assert (seen["x-mixed-case"], seen["x-twice"]) == ("Value", "1,2")


def test_query(host: Host) -> None:
    """Parameters without a value are dropped, but stay in the URL; escapes are resolved; repeated ones are joined."""
    seen = host.get("/api/anything?a=1&empty=&b=%C3%BC%2B+x&c=1&c=2").json()
    assert seen["params"] == {"a": "1", "b": "ü+ x", "c": "1,2"}
    assert seen["url"].endswith("/api/anything?a=1&empty=&b=%C3%BC%2B+x&c=1&c=2")


def test_a_body(host: Host) -> None:
    """It arrives as sent."""
    assert host.post("/api/anything", content="ü" * 1000).json()["body"] == "ü" * 1000


def test_a_body_without_announced_length(host: Host) -> None:
    """It arrives empty: the platform hands over a body only for a Content-Length above zero."""
    assert host.post("/api/anything", content=iter([b"one", b"two"])).json()["body"] == ""


def test_a_body_above_the_limit(host: Host) -> None:
    """413, before it is read."""
    assert host.post("/api/anything", content=b"x" * 1_000_001).status_code == 413


def test_status_headers_cookies_and_bytes_of_an_answer(host: Host) -> None:
    """All of them come back as the function set them."""
    answer = host.get("/api/answer")
    assert (answer.status_code, answer.content) == (418, b"\x00\xff")
    assert (answer.headers["content-type"], answer.headers["x-two"]) == ("application/octet-stream", "2")
    one, two = answer.headers.get_list("set-cookie")
    assert set(one.split("; ")) == {"a=1", "Max-Age=60", "Path=/", "HttpOnly", "SameSite=Lax"}
    assert set(two.split("; ")) == {"b=two", "Secure", "expires=Thu, 12 Jan 2034 13:55:08 GMT"}


@pytest.mark.parametrize(("path", "message"), [("fails", "on purpose"), ("fails-async", "on purpose, async")])
def test_a_function_raises(host: Host, path: str, message: str) -> None:
    """500 without a body; the traceback is in the log."""
    answer = host.get(f"/api/{path}")
    assert (answer.status_code, answer.content) == (500, b"")
    eventually(lambda: f"RuntimeError: {message}\n" in host.log)


def test_each_invocation_has_a_line_in_the_log(host: Host) -> None:
    """Name, id, duration, outcome and reason."""
    host.get("/api/things/newest?n=1")
    line = r"INFO    host.worker: newest succeeded, id="
    eventually(lambda: any(line in one and " ms, GET /api/things/newest" in one for one in host.log.splitlines()))


def test_the_functions_are_listed_at_the_start(host: Host) -> None:
    """With methods and URL."""
    assert f"    things: [GET,POST] {host.url}/api/things/{{id:guid?}}\n" in host.log


def test_the_host_is_reached_from_outside(host: Host) -> None:
    """It is not: it listens on loopback alone."""
    port = urlsplit(host.url).port or 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address this machine would use
        address = probe.getsockname()[0]
    with socket.socket() as sock:
        assert sock.connect_ex((address, port)) != 0


def test_admin_of_an_http_function(host: Host) -> None:
    """It is refused with the route to call; the rest of the admin endpoints answers."""
    answer = host.post("/admin/functions/newest", json={"input": "x"})
    assert (answer.status_code, "/things/newest" in answer.text) == (400, True)
    assert host.get("/admin/host/status").json()["state"] == "Running"
    assert host.get("/admin/host/ping").status_code == host.post("/admin/host/ping").status_code == 200
    assert "newest" in [one["name"] for one in host.get("/admin/functions").json()]
    assert host.get("/admin/functions/newest/status").status_code == 200
    assert host.get("/admin/functions/nobody/status").status_code == 404
