"""The local servers answer this machine only, and no page of another site; both run for real."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.apps.running import Place, running
from tests.fixtures_workspace import LocalWorkspace


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a function host."""
    with running("web", Place("", tmp_path_factory.mktemp("host"))) as made:
        yield made.url


@pytest.fixture(params=["host", "workspace"])
def server(request: pytest.FixtureRequest, host: str, workspace: LocalWorkspace) -> tuple[str, str, str]:
    """URL of a server, something to read there, and something to change."""
    if request.param == "host":
        return host, "/api/things", "/api/things"
    return workspace.info["base_url"], "/_control/info", "/_control/faults"


def answer(url: str, method: str, path: str, *headers: tuple[str, str]) -> tuple[int, str, list[str]]:
    """Send one request with these headers; return the status, the text and the names of the answer's headers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in (("content-length", "2"), *headers):
        connection.putheader(name, value.encode("latin-1"))
    connection.endheaders(b"[]")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, [name.lower() for name, _ in response.getheaders()]


def ask(url: str, method: str, path: str, **headers: str) -> int:
    """Send one request with these headers, the Host too; return the status."""
    sent = {"host": urlsplit(url).netloc, **headers}
    return answer(url, method, path, *((name.replace("_", "-"), value) for name, value in sent.items()))[0]


@pytest.mark.parametrize(
    "name",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost", "169.254.1.1", ""),
        *("localhost.", "localhost:x", "localhost:[", "localhost:123456", "localhost/x", "user@localhost", "[::2]"),
        *("localhost, evil.example", "0.0.0.0", "127.0.0.2", "2130706433", "::1", "loca\xadlhost", "127.0.0.1%25"),
    ],
)
def test_host_name_that_is_not_this_machine(server: tuple[str, str, str], name: str) -> None:
    """A name that somebody else points here is refused, for reads, too."""
    url, reads, changes = server
    assert ask(url, "GET", reads, host=name) == 403
    assert ask(url, "POST", changes, host=name) == 403


def test_what_a_refusal_says(server: tuple[str, str, str]) -> None:
    """One line: which header, what it was, what it should be; and nothing that lets another origin read it."""
    url, reads, changes = server
    status, text, names = answer(url, "GET", reads, ("host", "e\x85vil"))
    assert (status, text.splitlines()) == (403, [text.rstrip("\n")])
    assert text.startswith('Refused: the header Host is "e\\u0085vil"; expected 127.0.0.1')
    host = ("host", urlsplit(url).netloc)
    status, text, names = answer(url, "POST", changes, host, ("origin", "https://evil.example"))
    assert (status, text.startswith("Refused: the header Origin is https://evil.example;")) == (403, True)
    assert not [name for name in names if name.startswith("access-control")]


def test_no_host(server: tuple[str, str, str]) -> None:
    """It is refused."""
    url, reads, _ = server
    assert answer(url, "GET", reads)[0] in (400, 403)  # the library that reads HTTP refuses it, too


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "127.0.0.1", "[::1]", "localhost:7071", "[::1]:80"])
def test_names_of_this_machine(server: tuple[str, str, str], name: str) -> None:
    """With or without a port."""
    url, reads, changes = server
    assert ask(url, "GET", reads, host=name) == 200
    assert ask(url, "POST", changes, host=name) not in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "file://"},
        {"origin": "ftp://localhost"},
        {"origin": "http://localhost@evil.example"},
        {"origin": "http://localhost/"},
        {"origin": "http://127.0.0.1:7081, https://evil.example"},
        {"origin": "http://127.0.0.1:7081", "sec_fetch_site": "cross-site"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://evil.example:7071/127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_page_of_another_site(server: tuple[str, str, str], headers: dict[str, str]) -> None:
    """What it sends is refused before anything is done; what it reads it cannot see, for want of CORS headers."""
    url, reads, changes = server
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert ask(url, method, changes, **headers) == 403
    assert ask(url, "GET", reads, **headers) == 200


def test_two_origins(server: tuple[str, str, str]) -> None:
    """One that is ours does not excuse one that is not."""
    url, _, changes = server
    origins = [("origin", "http://localhost"), ("origin", "https://evil.example")]
    for two in (origins, origins[::-1]):
        assert answer(url, "POST", changes, ("host", "localhost"), *two)[0] == 403


def test_preflight(server: tuple[str, str, str]) -> None:
    """Whatever it is answered, it gives no leave."""
    url, _, changes = server
    asked = ("access-control-request-method", "POST")
    _, _, names = answer(url, "OPTIONS", changes, ("host", "localhost"), ("origin", "https://evil.example"), asked)
    assert not [name for name in names if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:7081"},
        {"origin": "https://localhost"},
        {"origin": "http://[::1]:3000"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_page_of_ours(server: tuple[str, str, str], headers: dict[str, str]) -> None:
    """Its forms work."""
    url, _, changes = server
    assert ask(url, "POST", changes, **headers) not in (400, 403)
