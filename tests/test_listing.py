"""A listing read without the SDK's models of whole properties: the SDK is the referee."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import responses
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from shared.errors import StorageError
from shared.rules.arrival import Arrival, Source, from_properties
from shared.storage.datastores import Datastore
from shared.storage.listing import Listing

ADDRESS = "http://127.0.0.1:9/account/odd"
ODD = """<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://account.blob.core.windows.net/" ContainerName="odd">
  <Prefix>income/</Prefix><MaxResults>5000</MaxResults>
  <Blobs>
    <Blob>
      <Name>income/us/1.csv</Name>
      <VersionId>2026-11-27T06:24:01.1234567Z</VersionId><IsCurrentVersion>true</IsCurrentVersion>
      <Properties>
        <Creation-Time>Fri, 27 Nov 2026 06:24:01 GMT</Creation-Time>
        <Last-Modified>Fri, 27 Nov 2026 06:24:02 GMT</Last-Modified>
        <Etag>0x8DE2D7A1B2C3D4E</Etag>
        <Content-Length>5368709120</Content-Length>
        <Content-Type>text/csv</Content-Type><Content-Encoding /><Content-CRC64 />
        <Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>
        <BlobType>BlockBlob</BlobType><AccessTier>Archive</AccessTier><LeaseStatus>unlocked</LeaseStatus>
      </Properties>
      <Metadata><Owner>Ä&amp;B</Owner><empty /></Metadata><OrMetadata />
    </Blob>
    <Blob>
      <Name Encoded="true">income%2Fa%EF%BF%BEb%20c.csv</Name>
      <Properties>
        <Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified><Etag>"0x1"</Etag>
        <Content-Length>0</Content-Length><Content-MD5 /><BlobType>PageBlob</BlobType>
        <CopyId>1f0</CopyId><CopyStatus>pending</CopyStatus><CopyProgress>0/10</CopyProgress>
      </Properties>
      <Metadata />
    </Blob>
    <Blob>
      <Name>income/%2Fnot encoded + plus</Name>
      <Properties>
        <Last-Modified>Wed, 29 Feb 2028 23:59:59 GMT</Last-Modified><Etag>0x2</Etag>
        <Content-Length>7</Content-Length><BlobType>AppendBlob</BlobType><AccessTier>Cool</AccessTier>
        <CopyStatus>success</CopyStatus>
      </Properties>
    </Blob>
    <Blob>
      <Name>income/folder</Name>
      <Properties>
        <Last-Modified>Fri, 27 Nov 2026 06:24:02 GMT</Last-Modified><Etag>0x3</Etag>
        <ResourceType>directory</ResourceType>
        <Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType>
      </Properties>
      <Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>
    </Blob>
  </Blobs>
  <NextMarker />
</EnumerationResults>"""
EMPTY = '<?xml version="1.0"?><EnumerationResults ContainerName="odd"><Blobs />{}</EnumerationResults>'


@pytest.fixture
def container(storage: str) -> Iterator[ContainerClient]:
    """A container with blobs of each kind that the emulator knows."""
    with BlobServiceClient.from_connection_string(storage) as service:
        made = service.create_container(f"listing-{uuid.uuid4().hex}")
        made.upload_blob("income/us/1.csv", b"age\n1\n", metadata={"Owner": "a b", "empty": ""})
        made.upload_blob("income/ü ☃ & <1>%2F+.csv", b"")
        made.upload_blob("income/page", b"0" * 512, blob_type="PageBlob")
        made.upload_blob("income/appended", b"0", blob_type="AppendBlob")
        made.upload_blob("income/folder", b"", metadata={"hdi_isfolder": "true"})
        copied = made.get_blob_client("income/copied")
        copied.start_copy_from_url(made.get_blob_client("income/us/1.csv").url)
        made.upload_blob("other/1.csv", b"1")
        made.get_blob_client("income/us/1.csv").set_standard_blob_tier("Archive")
        yield made
        made.delete_container()


def by_sdk(container: ContainerClient, prefix: str) -> list[Arrival]:
    """Return what the SDK's own models make of a listing."""
    entries = container.list_blobs(prefix, include=["metadata", "copy"])
    return [from_properties("training", Source.SEARCH, entry) for entry in entries]


@pytest.mark.parametrize("prefix", ["", "income/", "income/us/1.csv", "nothing/"])
def test_emulator(container: ContainerClient, prefix: str) -> None:
    """Each kind of blob reads as with the SDK; what stands in an account cannot be listed wrong by both."""
    page = Listing("training", container, prefix, "").read()
    assert page == by_sdk(container, prefix)
    assert len(page) == len(list(container.list_blob_names(name_starts_with=prefix)))


@responses.activate
def test_what_the_emulator_does_not_say() -> None:
    """Encoded names, versions, a blob of 5 GB, pending copies, entries without metadata or a digest."""
    responses.get(ADDRESS, ODD, content_type="application/xml")
    with ContainerClient.from_container_url(ADDRESS) as container:
        page = Listing("training", container, "income/", "").read()
        assert page == by_sdk(container, "income/")
    first, encoded, plain, stub = page
    assert (first.size, first.metadata, first.archived) == (5 * 2**30, {"Owner": "Ä&B", "empty": ""}, True)
    assert (encoded.path, encoded.etag, encoded.pending) == ("income/a\ufffeb c.csv", "0x1", True)
    assert (plain.path, plain.last_modified) == (
        "income/%2Fnot encoded + plus",
        datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
    )
    assert stub.is_folder


@responses.activate
def test_pages_that_are_empty() -> None:
    """A page without blobs ends nothing as long as it says where the listing goes on."""
    for answer in (EMPTY.format("<NextMarker>two</NextMarker>"), ODD, EMPTY.format("<NextMarker/>")):
        responses.get(
            ADDRESS, answer.replace("<NextMarker />", "<NextMarker>three</NextMarker>"), content_type="application/xml"
        )
    with ContainerClient.from_container_url(ADDRESS) as container:
        pages = list(Datastore("training", container).pages("income/", ""))
    assert [(len(page.arrivals), page.marker) for page in pages] == [(0, "two"), (4, "three"), (0, "")]
    assert ["marker" in str(call.request.url) for call in responses.calls] == [False, True, True]
    assert all("include=metadata%2Ccopy" in str(call.request.url).replace(",", "%2C") for call in responses.calls)


@responses.activate
@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        ("<Enumeration", "application/xml"),
        ("<html/>", "application/xml"),
        ("<html/>", "text/html"),
        ("", "application/xml"),
        ("{}", "application/json"),
        ('<EnumerationResults ContainerName="odd"/>', "application/xml"),
        (ODD.replace("<Name>income/folder</Name>", ""), "application/xml"),
        (ODD.replace("Wed, 29 Feb 2028", "Wed, 30 Feb 2028"), "application/xml"),
        (ODD.replace("23:59:59 GMT", "23:59:59 -0000"), "application/xml"),
        (ODD.replace("<Last-Modified>Wed, 29 Feb 2028 23:59:59 GMT</Last-Modified>", ""), "application/xml"),
        (ODD.replace("1B2M2Y8AsgTpgAmY7PhCfg==", "1B2M2Y8AsgTpgAmY7PhCfg"), "application/xml"),
        (
            ODD.replace("<Content-Length>7</Content-Length>", "<Content-Length>seven</Content-Length>"),
            "application/xml",
        ),
        (ODD.replace("<Content-Length>7</Content-Length>", ""), "application/xml"),
        (ODD.replace("<Etag>0x2</Etag>", ""), "application/xml"),
    ],
)
def test_answer_that_is_no_listing(answer: str, content_type: str) -> None:
    """It is said as what it is, an account that does not answer as it should; never as an empty container."""
    responses.get(ADDRESS, answer, content_type=content_type)
    with (
        ContainerClient.from_container_url(ADDRESS, retry_total=0) as container,
        pytest.raises(StorageError, match="Listing 'income/' in datastore 'training'"),
    ):
        list(Datastore("training", container).pages("income/", ""))


def page_of(name: str, marker: str) -> str:
    """Return an answer with one blob."""
    [_, entry] = ODD.split("<Blob>")[:2]
    blob = f"<Blob>{entry.partition('</Blob>')[0]}</Blob>".replace("income/us/1.csv", name)
    marked = EMPTY.format(f"<NextMarker>{marker}</NextMarker>")
    return marked.replace("<Blobs />", f"<Blobs>{blob}</Blobs>")


@responses.activate
@pytest.mark.parametrize(
    "failure",
    [
        {"body": requests.ConnectionError("reset")},
        {"body": requests.ReadTimeout("late")},
        {"body": "<Error><Code>ServerBusy</Code></Error>", "status": 503, "content_type": "application/xml"},
    ],
)
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_attempts_that_fail_leave_nothing_behind(failure: dict[str, Any], broken: int) -> None:
    """Whichever page is asked for twice: each is read once, and none in another's place."""
    for number, (name, marker) in enumerate([("a", "two"), ("b", "three"), ("c", "")]):
        if number == broken:
            responses.get(ADDRESS, **failure)
        responses.get(ADDRESS, page_of(name, marker), content_type="application/xml")
    with ContainerClient.from_container_url(ADDRESS, initial_backoff=0, increment_base=0, retry_total=1) as container:
        pages = list(Datastore("training", container).pages("", ""))
    assert [[arrival.path for arrival in page.arrivals] for page in pages] == [["a"], ["b"], ["c"]]


@responses.activate
def test_errors_are_those_of_the_sdk() -> None:
    """With the service's code."""
    responses.get(
        ADDRESS,
        "<Error><Code>AuthorizationFailure</Code><Message>no</Message></Error>",
        status=403,
        content_type="application/xml",
        headers={"x-ms-error-code": "AuthorizationFailure"},
    )
    with (
        ContainerClient.from_container_url(ADDRESS) as container,
        pytest.raises(HttpResponseError) as caught,
    ):
        Listing("training", container, "income/", "").read()
    assert getattr(caught.value, "error_code", None) == "AuthorizationFailure"
