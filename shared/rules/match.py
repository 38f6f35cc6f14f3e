"""What does an arrival start? `match()` decides, for each rule of its datastore.

A rule whose data path is the file decides at once, unless the file must be quiet for a while first; one whose data path
is the folder waits until that is complete. Then `file_request()` and `folder.folder_request()` make the request.

Never raises, whatever a blob is called: what cannot be converted is a skip of that rule alone.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from shared.rules.arrival import Arrival
from shared.rules.decision import Decision, RetrainRequest, Settling, Skip
from shared.rules.fill import OWN_FOLDER, bare, file_values, request_of
from shared.rules.rule import Rule
from shared.rules.take import Captures, announced, folder_of, taken


def match(
    rules: Iterable[Rule],
    arrival: Arrival,
    since: Mapping[str, datetime],
    parameters: Mapping[str, str] | None = None,
) -> list[Decision]:
    """Decide what `arrival` starts: one decision for each rule of its datastore, or one Skip.

    `since` (rule name to time) is what applies to this arrival; rules without an entry take blobs of any age.
    `parameters` come from the caller and win over the rule's own; what settles first does not carry them.
    """
    if arrival.is_folder:
        return [Skip(reason="directory stub")]
    if arrival.path.startswith(f"{OWN_FOLDER}/"):
        return [Skip(reason=f"below {OWN_FOLDER}/, where the app itself writes")]
    if arrival.not_yet:
        return [Skip(reason=f"no data yet: {arrival.not_yet}")]
    candidates = [rule for rule in rules if rule.datastore == arrival.datastore]
    if arrival.size == 0 and not any(announced(rule, arrival.path) for rule in candidates):
        return [Skip(reason="empty blob")]
    if not candidates:
        return [Skip(reason=f"no rule for datastore {arrival.datastore!r}")]
    return [_decide(rule, arrival, since, parameters or {}) for rule in candidates]


def _decide(rule: Rule, arrival: Arrival, sinces: Mapping[str, datetime], parameters: Mapping[str, str]) -> Decision:
    found = announced(rule, arrival.path) if rule.settle else None  # most rules take neither: be quick about it
    name, captures = found or ("", taken(rule, arrival))
    if isinstance(captures, str):
        return Skip(rule=rule.name, reason=captures)
    since = sinces.get(rule.name)
    # Last-Modified has whole seconds: compare in seconds, or a blob of the first second would look older than it is.
    if since is not None and arrival.last_modified < since.replace(microsecond=0):
        written, seen = (f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for time in (arrival.last_modified, since))
        return Skip(rule=rule.name, reason=f"written {written}, before the rule's since {seen}")
    if rule.data_path.grain == "file":
        if rule.settle is None:
            return _file_request(rule, arrival, captures, parameters)
        folder = arrival.path
    else:
        folder = arrival.path.rpartition("/")[0] if name else folder_of(rule, arrival.path)
    if not folder:
        return Skip(rule=rule.name, reason="lies at the container's root, which is no folder of its own")
    return Settling(
        rule=rule.name,
        datastore=arrival.datastore,
        folder=folder,
        arrival=bare(arrival),
        is_marker=bool(name) and rule.settle is not None and name == rule.settle.marker,
        is_manifest=bool(name) and rule.settle is not None and name == rule.settle.manifest,
    )


def file_request(rule: Rule, arrival: Arrival) -> RetrainRequest | Skip:
    """Decide what a rule of grain "file" starts of a file that has been left alone long enough.

    `arrival` is the file as it is now: the rule's conditions are asked anew. Its age is not.
    """
    if arrival.is_folder:
        return Skip(rule=rule.name, reason="directory stub")
    if arrival.not_yet:
        return Skip(rule=rule.name, reason=f"no data yet: {arrival.not_yet}")
    captures = taken(rule, arrival)
    if isinstance(captures, str):
        return Skip(rule=rule.name, reason=captures)
    return _file_request(rule, arrival, captures, {})


def _file_request(
    rule: Rule, arrival: Arrival, captures: Captures, parameters: Mapping[str, str]
) -> RetrainRequest | Skip:
    return request_of(rule, arrival, {**file_values(arrival), **captures}, parameters)
