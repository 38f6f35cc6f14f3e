"""Data as it comes: written anew without being other data, in tiers and forms of their own, under odd names."""

import contextlib
import logging
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobBlock, BlobClient, BlobType

from shared.app import App, build
from shared.errors import BadRequestError, NotFoundError
from shared.flow import search
from shared.flow.arrive import arrive as deliver
from shared.flow.outcome import Outcome
from shared.flow.tick import tick
from shared.ledger.entries import State
from shared.operate import plan, redrive, status
from shared.operate.calls import Call, request
from shared.rules.arrival import Source
from shared.rules.rule import DataPathParameter, Rule, Settle
from shared.settings.model import Datastore as Configured
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

PATH = "income/us/a.csv"
BY_CONTENT = msgspec.structs.replace(samples.RULE, identity="content")
FOLDERS = samples.changed(
    path="income/{country}/*.csv",
    identity="content",
    data_path=DataPathParameter(parameter="input_data", grain="folder"),
    settle=Settle(marker="_SUCCESS"),
)

pytestmark = pytest.mark.usefixtures("empty_container")


def with_rule(app: App, rule: Rule) -> App:
    """Return the application with one rule."""
    return replace(app, settings=msgspec.structs.replace(app.settings, rules=(rule,)))


def blob(app: App, path: str = PATH) -> BlobClient:
    """Return the client of a blob of the datastore."""
    return app.datastores["training"].container.get_blob_client(path)


def told(app: App, path: str = PATH, source: Source = Source.BLOB_EVENT) -> Outcome:
    """Announce a blob; return what became of it."""
    [outcome] = deliver(app, "training", path, source)
    return outcome


def runs(workspace: LocalWorkspace) -> int:
    """Return how many submissions were accepted."""
    return len(workspace.control("GET", "runs"))


# Content written anew


def touched(app: App, how: str) -> None:
    """Write a blob anew: another ETag."""
    before = blob(app).get_blob_properties().etag
    if how == "metadata":
        blob(app).set_blob_metadata({"stage": "final"})
    elif how == "content type":
        blob(app).set_http_headers(blob(app).get_blob_properties().content_settings)
    else:
        blob(app).upload_blob(blob(app).download_blob().readall(), overwrite=True)
    assert blob(app).get_blob_properties().etag != before


@pytest.mark.parametrize("how", ["metadata", "content type", "uploaded again"])
@pytest.mark.parametrize(("rule", "count"), [(samples.RULE, 2), (BY_CONTENT, 1)])
def test_same_content_written_anew(app: App, workspace: LocalWorkspace, how: str, rule: Rule, count: int) -> None:
    """By ETag it is another arrival; by content it is the one that was there, and its key is told."""
    made = with_rule(app, rule)
    workspace.upload(PATH, "a\n1\n")
    first = told(made)
    touched(made, how)
    second = told(made)
    assert (second.key == first.key, second.duplicate) == (count == 1, count == 1)
    assert runs(workspace) == count


def test_other_content_is_another_arrival(app: App, workspace: LocalWorkspace) -> None:
    """And when the first content comes back, it has its run already."""
    made = with_rule(app, BY_CONTENT)
    keys = []
    for content in ("a\n1\n", "a\n2\n", "a\n1\n"):
        workspace.upload(PATH, content)
        keys.append(told(made).key)
    assert keys[0] == keys[2] != keys[1]
    assert runs(workspace) == 2


def test_blob_without_a_content_hash(app: App, workspace: LocalWorkspace) -> None:
    """Blocks that are put together have none, unless their writer gives it: then the ETag counts."""
    made = with_rule(app, BY_CONTENT)
    for _ in range(2):
        blob(made).stage_block("AAAA", b"a\n1\n")
        blob(made).commit_block_list([BlobBlock("AAAA")])
        assert blob(made).get_blob_properties().content_settings.content_md5 is None
        told(made)
    assert runs(workspace) == 2


def test_person_who_wants_the_same_content_trained_again(app: App, workspace: LocalWorkspace) -> None:
    """Force is another attempt; what failed may be redriven although its metadata changed since."""
    made = with_rule(app, BY_CONTENT)
    workspace.upload(PATH, "a\n1\n")
    told(made)
    [forced] = request(made, Call(path=PATH, datastore="training", force=True))
    assert (forced.duplicate, runs(workspace)) == (False, 2)
    workspace.control("POST", "faults", [{"on": "submit", "kind": "status", "status": 400}])
    workspace.upload(PATH, "a\n2\n")
    refused = told(made).entry
    assert refused is not None
    assert refused.state == State.REFUSED
    touched(made, "metadata")
    assert redrive.redrive(made, refused.key).key != refused.key
    assert runs(workspace) == 3


def test_search_and_backfill_know_the_content_again(
    app: App, workspace: LocalWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    """What was only touched is neither missed nor filled in."""
    caplog.set_level(logging.INFO, "retrain")
    made = with_rule(app, BY_CONTENT)
    made.prepare()
    workspace.upload(PATH, "a\n1\n")
    told(made)
    touched(made, "metadata")
    now = made.ledger.now
    made.ledger.now = lambda: now() + timedelta(hours=1)
    assert search.search(made, made.ledger.now() + timedelta(minutes=1)) == set()
    assert not [record for record in caplog.records if record.message.startswith("missed")]
    assert list(plan.candidates(made, BY_CONTENT, None)) == []
    [planned] = plan.plan_call(made, Call(path=PATH, datastore="training"))
    assert planned.decision == "started"


@pytest.mark.parametrize(("identity", "count"), [("etag", 2), ("content", 1)])
def test_folder_whose_files_were_only_touched(app: App, workspace: LocalWorkspace, identity: str, count: int) -> None:
    """Its content is the names with the ETags, or with what the files have of Content-MD5."""
    made = with_rule(app, msgspec.structs.replace(FOLDERS, identity=identity))
    workspace.upload(PATH, "a\n1\n")
    for _ in range(2):
        touched(made, "metadata")
        told(made)
        blob(made, "income/us/_SUCCESS").upload_blob(b"", overwrite=True)
        told(made, "income/us/_SUCCESS")
    assert runs(workspace) == count


# Forms and tiers


def test_archived_blob_is_no_data_until_it_is_read_back(app: App, workspace: LocalWorkspace) -> None:
    """It is skipped with the reason; the search finds it when it is back, though its date is the old one."""
    app.prepare()
    workspace.upload(PATH, "a\n1\n")
    blob(app).set_standard_blob_tier("Archive")
    outcome = told(app)
    assert outcome.skip is not None
    assert "archive tier" in outcome.skip.reason
    now = app.ledger.now
    app.ledger.now = lambda: now() + timedelta(hours=1)
    tick(app)
    assert runs(workspace) == 0
    blob(app).set_standard_blob_tier("Hot")
    app.ledger.now = lambda: now() + timedelta(hours=26)
    tick(app)
    assert runs(workspace) == 1


def test_folder_waits_for_a_file_in_the_archive(app: App, workspace: LocalWorkspace) -> None:
    """What is missing is told by name."""
    made = with_rule(app, FOLDERS)
    workspace.upload(PATH, "a\n1\n")
    workspace.upload("income/us/b.csv", "a\n1\n")
    blob(made).set_standard_blob_tier("Archive")
    told(made, "income/us/b.csv")
    blob(made, "income/us/_SUCCESS").upload_blob(b"")
    outcome = told(made, "income/us/_SUCCESS")
    assert outcome.settling
    [waiting] = status.status(made).waiting.settling
    assert waiting.missing == f"{PATH!r} as data (it is in the archive tier, where nothing can read it)"
    blob(made).set_standard_blob_tier("Hot")
    blob(made, "income/us/_SUCCESS").upload_blob(b"", overwrite=True)
    assert told(made, "income/us/_SUCCESS").entry


@pytest.mark.parametrize("kind", [BlobType.PAGEBLOB, BlobType.APPENDBLOB])
def test_page_and_append_blobs_are_data_like_others(app: App, workspace: LocalWorkspace, kind: BlobType) -> None:
    """Each write of theirs is another version, as with any blob."""
    blob(app).upload_blob(b"a\n1\n".ljust(512), blob_type=kind)
    assert told(app).entry
    assert runs(workspace) == 1


def test_append_blob_that_has_nothing_yet(app: App) -> None:
    """It is an empty blob until the first block."""
    blob(app).create_append_blob()
    outcome = told(app)
    assert outcome.skip
    assert outcome.skip.reason == "empty blob"
    blob(app).append_block(b"a\n1\n")
    assert told(app).entry


def test_blob_whose_blocks_are_not_committed(app: App, workspace: LocalWorkspace) -> None:
    """It is not there for anybody but its writer."""
    blob(app).stage_block("AAAA", b"a\n1\n")
    outcome = told(app)
    assert outcome.skip
    assert "There is no blob" in outcome.skip.reason
    blob(app).commit_block_list([BlobBlock("AAAA")])
    assert told(app).entry
    assert runs(workspace) == 1


def test_blob_that_somebody_has_a_lease_on(app: App, workspace: LocalWorkspace) -> None:
    """A lease keeps others from writing; it is data all the same."""
    workspace.upload(PATH, "a\n1\n")
    lease = blob(app).acquire_lease()
    assert told(app).entry
    lease.release()


# Odd names


@pytest.mark.parametrize("name", ["income/us/a.csv.", "income/us./a.csv"])
def test_name_with_a_segment_that_ends_in_a_dot(
    app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where the service takes it for the name without the dot, the name that it lists counts: one blob, one run."""
    made = with_rule(app, samples.changed(path="income/**"))
    workspace.upload(PATH, "a\n1\n")
    asked = BlobClient.get_blob_properties

    def dots_do_not_count(self: BlobClient, **options: Any) -> Any:
        plain = self.blob_name.replace("./", "/").rstrip(".")
        found = asked(blob(made, plain), **options)
        found.name = self.blob_name
        return found

    monkeypatch.setattr(BlobClient, "get_blob_properties", dots_do_not_count)
    assert told(made).entry
    outcome = told(made, name)
    assert outcome.skip
    assert "of another name" in outcome.skip.reason
    assert runs(workspace) == 1


def test_blob_that_is_really_called_so(app: App, workspace: LocalWorkspace) -> None:
    """What is listed under a name that ends in a dot is a blob of its own."""
    made = with_rule(app, samples.changed(path="income/**"))
    for name in (PATH, f"{PATH}."):
        workspace.upload(name, "a\n1\n")
        assert told(made, name).entry
    assert runs(workspace) == 2


def test_name_that_storage_refuses(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the caller's fault, and no reason for the platform to come again."""
    name = "income/us/a.csv"

    def refuses(self: BlobClient, **options: Any) -> Any:
        raise bad_request()

    monkeypatch.setattr(BlobClient, "get_blob_properties", refuses)
    with pytest.raises(BadRequestError, match=r"no blob's name \(InvalidUri\)"):
        request(app, Call(path=name, datastore="training"))
    assert told(app, name).skip


def bad_request() -> AzureError:
    """Return what the SDK raises where the service refuses a name."""
    error = HttpResponseError("The requested URI does not represent any resource on the server.")
    error.status_code, error.error_code = HTTPStatus.BAD_REQUEST, "InvalidUri"  # type: ignore[attr-defined]
    return error


def test_container_that_cannot_be_listed(app: App, workspace: LocalWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control character in one name breaks the emulator's whole listing: all else goes on, and it is told."""
    monkeypatch.setattr(RequestsTransport, "sleep", lambda *_: None)  # between the SDK's own retries
    healthy = app.datastores["training"].container
    other = healthy.container_name + "-odd"
    made = build(
        msgspec.structs.replace(
            app.settings,
            datastores={**app.settings.datastores, "odd": Configured(container=other, connection="TrainingStorage")},
            rules=(samples.RULE, samples.changed(name="odd", datastore="odd")),
            ledger=app.settings.ledger,
        )
    )
    made = replace(made, ledger=app.ledger, endpoints=app.endpoints)
    odd = made.datastores["odd"].container
    with contextlib.suppress(AzureError):
        odd.create_container()
    try:
        made.prepare()
        odd.upload_blob("income/us/\x01.csv", b"a", overwrite=True)
        workspace.upload(PATH, "a\n1\n")
        now = made.ledger.now
        made.ledger.now = lambda: now() + timedelta(hours=1)
        for _ in range(2):  # the first may lose all its time where nothing can be listed; the second begins elsewhere
            tick(made)
        assert runs(workspace) == 1
        faults = {one.container: one.fault for one in status.status(made).search}
        assert faults[healthy.container_name] is None
        assert "Listing" in str(faults[other])
        # What is announced is looked at by name, and needs no listing.
        odd.upload_blob("income/us/b.csv", b"a", overwrite=True)
        [outcome] = deliver(made, "odd", "income/us/b.csv", Source.BLOB_EVENT)
        assert outcome.entry
    finally:
        made.ledger.now = now
        odd.delete_container()


def test_name_that_is_not_there(app: App) -> None:
    """It is told as not found, whatever it ends in."""
    for name in ("income/us/none.csv", "income/us/none.csv."):
        with pytest.raises(NotFoundError, match="There is no blob"):
            request(app, Call(path=name, datastore="training"))
