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


def ask(url: str, method: str, path: str, **headers: str) -> int:
    """Send one request with these headers, the Host too; return the status."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    sent = {"host": urlsplit(url).netloc, "content-length": "2", **headers}
    for name, value in sent.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(b"[]")
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "169.254.1.1", ""]
)
def test_host_name_that_is_not_this_machine(server: tuple[str, str, str], name: str) -> None:
    """A name that somebody else points here is refused, for reads, too."""
    url, reads, changes = server
    assert ask(url, "GET", reads, host=name) == 400
    assert ask(url, "POST", changes, host=name) == 400


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "localhost:7071"])
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
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://evil.example:7071/127.0.0.1"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_page_of_another_site(server: tuple[str, str, str], headers: dict[str, str]) -> None:
    """What it sends is refused before anything is done; what it reads it cannot see, for want of CORS headers."""
    url, reads, changes = server
    assert ask(url, "POST", changes, **headers) == 403
    assert ask(url, "GET", reads, **headers) == 200


@pytest.mark.parametrize("headers", [{"origin": "http://127.0.0.1:7081"}, {"sec_fetch_site": "same-origin"}])
def test_page_of_ours(server: tuple[str, str, str], headers: dict[str, str]) -> None:
    """Its forms work."""
    url, _, changes = server
    assert ask(url, "POST", changes, **headers) not in (400, 403)
