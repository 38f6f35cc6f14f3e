"""One blob along the chain, link by link: is it there, was it told of, which rules take it, its row, its run.

The story itself is `why.py`'s. Never changes anything.
"""

from collections.abc import Iterator, Mapping

from shared.app import App
from shared.errors import ConfigurationError, StorageError
from shared.ledger.entries import State
from shared.operate import waiting
from shared.operate.findings import AGAIN, Finding
from shared.operate.subscribed import Awaited, subject
from shared.operate.why import ByRule, Story, why

CURES = {
    State.FAILED: "Its page says why; mend the data or the pipeline, then ./retrain redrive {key}.",
    State.CANCELED: "Somebody ended it; ./retrain redrive {key} starts it again.",
    State.REFUSED: "Mend what the reason names, then ./retrain redrive {key}.",
    State.DEAD: "Mend what the reason names, then ./retrain redrive {key}.",
    State.LOST_SIGHT: "Look at its page in the studio; ./retrain redrive {key} starts another run.",
    State.MISPINNED: "Its run was of another version than the pinned one: tell who looks after the endpoint.",
    State.HELD: "Look whether its run is there; then ./retrain redrive {key}, or close it.",
}
WAITS = "Nothing to do if that passes by itself; `./retrain show {key}` says when it is looked at next."
MISSED = "The search finds it; at once: POST /api/retrain with its path."
SKIPPED = "Nothing to do if that is meant; else mend the rule that should take it: ./retrain plan PATH tries it."


def follow(
    app: App, environ: Mapping[str, str], awaited: Awaited | None, letters: list[str], datastore: str, path: str
) -> tuple[Story | None, list[Finding]]:
    """Return a blob's story, and its links. Raises NotFoundError for a datastore that there is none of."""
    where = f"{datastore}/{path}"
    try:
        story = why(app, datastore, path)
    except StorageError as error:
        return None, [Finding("fault", where, str(error), AGAIN)]
    if not story.there:
        cure = "Upload it, or name it as it is called in the container, without the container's own name."
        return story, [Finding("fault", where, story.told, cure)]
    found = [Finding("ok", where, f"is there: {story.size:,} bytes, written {story.written:%Y-%m-%d %H:%M:%S} UTC")]
    found += _announced(where, awaited, datastore, path)
    found += _left(where, app, environ, letters, datastore, path)
    taken = [one for one in story.rules if one.verdict != "skipped"]
    found += [_link(where, one) for one in taken]
    if not taken:
        reasons = "; ".join(f"{one.rule or 'no rule'}: {one.reason}" for one in story.rules)
        found.append(Finding("fault", where, f"starts nothing: {reasons}", SKIPPED))
    return story, found


def _announced(where: str, awaited: Awaited | None, datastore: str, path: str) -> Iterator[Finding]:
    """Does a subscription tell the app of it?"""
    if awaited is None:
        return
    told, others = awaited.told_of(datastore, path)
    if told:
        yield Finding("ok", where, f"is told of by subscription {', '.join(told)}")
        return
    what = f"no subscription tells of it: {'; '.join(others) or 'there is none at all'}"
    yield Finding("fault", where, what, f"Mend the subscription, as said above. {MISSED}")


def _left(
    where: str, app: App, environ: Mapping[str, str], letters: list[str], datastore: str, path: str
) -> Iterator[Finding]:
    """Is an event about it among the dead letters, or the poison?"""
    container = app.settings.datastores[datastore].container
    for name in letters:
        try:
            found = waiting.letter_about(name, environ, subject(container, path))
        except (StorageError, ConfigurationError):
            continue  # said of the container itself already
        if found:
            letter, at = found
            what = f"a dead letter is about it, of {at:%Y-%m-%d %H:%M:%S} UTC: {letter.reason}"
            yield Finding("warning", where, what, f"Mend that reason. {MISSED}")
    for connection, queue in waiting.poison_queues(app):
        try:
            _, messages = waiting.peeked(connection, queue, environ)
        except (StorageError, ConfigurationError):
            continue  # of the queue, too
        if any(waiting.names(message, container, path) for message in messages):
            yield Finding("warning", where, f"its event failed each time, and is in queue {queue}", MISSED)


def _link(where: str, told: ByRule) -> Finding:
    """Return what a rule has made of it."""
    what, request = f"rule {told.rule!r}: {told.reason}", told.request
    if told.verdict == "missed":
        return Finding("warning", where, what, MISSED)
    key = request.key if request else ""
    if request and request.state in CURES:
        return Finding("fault", where, what, CURES[request.state].format(key=key))
    if told.verdict == "waiting":
        cure = WAITS.format(key=key) if key else "It goes on when what it waits for is there, as said."
        return Finding("warning", where, what, cure)
    return Finding("ok", where, what)
