"""Requests and answers as a file that anybody may see, and its replay. Never has a token, an id or a name in it.

Only words of the API itself are kept, short numbers, and times. Any other word becomes one of its own, the same
everywhere: in addresses, in bodies, and in the settings, so that a replay asks for what the recording has. What the
service says in `message` stays readable: what it quotes is replaced, and what occurs anywhere else.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import msgspec
import requests
import responses
from responses.matchers import json_params_matcher
from responses.registries import OrderedRegistry

from shared.errors import masked
from tests.live.place import Place

FORMAT = 1
SENT_HEADERS = {"content-type", "azureml-model-deployment", "repeatability_request-id"}
ANSWERED_HEADERS = {"content-type", "retry-after", "deprecation", "sunset"}
RATES = "x-ms-ratelimit"
NOWHERE = "99999999-9999-4999-8999-999999999999"
OWN = "live-check retrain-nowhere retrain_nowhere retrain key rule attempt special ü"
"""What the questions themselves say."""
API = """
    http https azureml application json charset utf-8 text html plain
    subscriptions resourceGroups providers Microsoft MachineLearningServices workspaces
    pipelines history datastore datastores paths mferp managementfrontend batch v1 0 jobs job components versions codes
    PipelineRuns PipelineEndpointSubmit PipelineSubmit PipelineEndpoints Pipeline Pipelines Graphs Interface Execution
    Id Name batchEndpoints deployments experiments runs query cancel pipelineVersion api-version dataplanepreview
    2020-09-01-dataplanepreview 2023-10-01 skip skiptoken jobType tag properties Tags Properties eq or and ne
    127 localhost management azure com cn us net windows chinacloudapi usgovcloudapi api ml ms inference core blob dfs
    NotStarted Queued Preparing Provisioning Starting Running CancelRequested Canceled Finalizing Completed Failed
    Finished Unapproved NotResponding Pausing Paused Unknown Succeeded Updating Creating Deleting Active Deprecated
    Disabled Int Double Bool String string integer number boolean uri_file uri_folder mltable UriFile UriFolder Literal
    PipelineComponent Model AzureBlob AzureFile AzureDataLakeGen2 AzureDataLakeStorageGen2 Id AADToken None true false
    API SDK HTTP Portal Schedule PipelineRun pipelineid runsource endpointName deploymentName experimentName
    NotFound BadRequest UserError ValidationError Conflict Forbidden Unauthorized ResourceNotFound AuthorizationFailed
    SystemError UnsupportedApiVersion TooManyRequests NotImplemented
"""
VOCABULARY = {word.lower() for word in f"{API} {OWN} {NOWHERE}".split()}
# Maps whose keys somebody has chosen; `properties` is one where it is inside `properties`, or of a run in run history.
CHOSEN = {
    *(
        "tags",
        "inputs",
        "inputData",
        "outputs",
        "outputData",
        "Properties",
        "metrics",
        "parameters",
        "services",
        "jobs",
    ),
    *("ParameterAssignments", "DataPathAssignments", "DataSetDefinitionValueAssignments"),
}
WORD = re.compile(r"[\w-]+")
PLAIN = re.compile(r"\d{1,5}", re.ASCII)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
KEY = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{32}", re.IGNORECASE)
MEMBER = re.compile(r"[A-Za-z]+", re.ASCII)
MAIL = re.compile(r"[^\s'\"<>]+@[^\s'\"<>]+")
QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\([^)]*\)")
PIECES = re.compile(rf"{QUOTED.pattern}|[^'\"(]+|['\"(]")
PROSE = {"description", "displayname"}


class Words:
    """Gives each word that is not the API's one of its own."""

    def __init__(self) -> None:
        self._given = dict[str, str]()

    def word(self, word: str) -> str:
        """Return what stands for a word. Of an id or a key it is one, too."""
        low = word.lower()
        if low in VOCABULARY or PLAIN.fullmatch(word):
            return word
        if low not in self._given:
            number = len(self._given) + 1
            made = f"w{number}"
            if GUID.fullmatch(word):
                made = f"00000000-0000-4000-8000-{number:012d}"
            elif KEY.fullmatch(word):
                made = f"20000101T000000Z-{number:032x}"
            self._given[low] = made
        return self._given[low]

    def text(self, text: str) -> str:
        """Return a text, or an address, with its words replaced."""
        if TIME.fullmatch(text):
            return text
        if text.startswith(("http://", "https://")):
            return self.url(text)
        return WORD.sub(lambda found: self.word(found[0]), text)

    def url(self, url: str) -> str:
        """Return an address with its words replaced; what is percent-encoded is a word, too."""
        parts = urlsplit(url)
        replaced = WORD.sub(lambda found: self.word(found[0]), unquote(parts.path))
        query = urlencode([(self.text(name), self.text(value)) for name, value in parse_qsl(parts.query)])
        return urlunsplit((parts.scheme, self.text(parts.netloc), quote(replaced, safe="/:=,()"), query, ""))

    def message(self, text: str) -> str:
        """Return what a service says, readable: what it quotes is replaced, and what is known from elsewhere."""
        pieces = PIECES.findall(MAIL.sub("somebody", masked(text)))
        return "".join(self.text(piece) if QUOTED.fullmatch(piece) else self._spoken(piece) for piece in pieces)

    def _spoken(self, text: str) -> str:
        """Return words of a sentence: those that occur elsewhere are replaced, what has digits, and paths."""

        def said(found: re.Match[str]) -> str:
            word = found[0]
            beside = found.string[max(found.start() - 1, 0) : found.end() + 1]
            if re.search(r"\d", word) or "/" in beside:
                return self.word(word)
            return self._given.get(word.lower(), word)

        return WORD.sub(said, text)

    def content(self, value: Any, member: str = "", parent: str = "", *, sent: bool, messages: bool) -> Any:
        """Return JSON with its words replaced; `messages`: those, too, when all other words are known.

        What people wrote about their things is left out, but where it was `sent`.
        """
        if isinstance(value, dict):
            chosen = member in CHOSEN or (member == "properties" and parent in ("properties", "run"))
            here = "run" if "runId" in value else member
            return {
                (name if MEMBER.fullmatch(name) and not chosen else self.text(name)): self.content(
                    inner, name, here, sent=sent, messages=messages
                )
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self.content(one, member, parent, sent=sent, messages=messages) for one in value]
        if not isinstance(value, str):
            return value
        if member.lower() in PROSE and not sent:
            return "..."
        if member.lower() == "message":
            return self.message(value) if messages else value
        return self.text(value)


class Exchange(msgspec.Struct):
    """A request and its answer."""

    method: str
    url: str
    status: int
    sent: Any = None
    """The request's body."""
    sent_headers: dict[str, str] = {}
    answer: Any = None
    """The answer's body: JSON, or the beginning of a text."""
    headers: dict[str, str] = {}


class Recording:
    """What was asked of a place, in order."""

    def __init__(self, place: Place, exchanges: list[Exchange] | None = None) -> None:
        self.place, self.exchanges = place, exchanges or []

    def take(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Write down a request with its answer; a hook of a session. The token stays out."""
        request = response.request
        self.exchanges.append(
            Exchange(
                method=str(request.method),
                url=str(request.url),
                status=response.status_code,
                sent=_json(request.body) if request.body else None,
                sent_headers=_only(request.headers, SENT_HEADERS),
                answer=_json(response.content),
                headers=_only(response.headers, ANSWERED_HEADERS),
            )
        )

    def scrubbed(self) -> "Recording":
        """Return the recording without ids, names and hosts."""
        words = Words()
        for exchange in self.exchanges:  # all words are known before any message is read
            _replaced(words, exchange, messages=False)
        place = msgspec.to_builtins(self.place)
        place |= {name: words.text(value) for name, value in place.items() if isinstance(value, str)}
        place["keys"] = [words.word(key) for key in self.place.keys]
        exchanges = [_replaced(words, exchange, messages=True) for exchange in self.exchanges]
        return Recording(msgspec.convert(place, Place), exchanges)

    def save(self, file: Path) -> None:
        """Write it down, scrubbed."""
        made = self.scrubbed()
        content = {"format": FORMAT, "place": made.place, "exchanges": made.exchanges}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(msgspec.to_builtins(content), indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> "Recording":
        """Read one. Raises ValueError for another format."""
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ValueError(f"{file}: expected format {FORMAT}, got {content.get('format')!r}: record it again")
        return cls(msgspec.convert(content["place"], Place), msgspec.convert(content["exchanges"], list[Exchange]))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Answer as recorded, in order: another request than the recorded one, or another body, is no connection."""
        with responses.RequestsMock(assert_all_requests_are_fired=False, registry=OrderedRegistry) as mock:
            for one in self.exchanges:
                mock.add(
                    one.method,
                    one.url,
                    body=one.answer if isinstance(one.answer, str) else json.dumps(one.answer),
                    status=one.status,
                    headers={name: value for name, value in one.headers.items() if name != "content-type"},
                    content_type=one.headers.get("content-type", "application/json"),
                    match=[json_params_matcher(one.sent)] if one.sent is not None else [],
                )
            yield


def _replaced(words: Words, one: Exchange, messages: bool) -> Exchange:
    return Exchange(
        method=one.method,
        url=words.url(one.url),
        status=one.status,
        sent=words.content(one.sent, sent=True, messages=messages),
        sent_headers={name: words.text(value) for name, value in one.sent_headers.items()},
        answer=words.content(one.answer, sent=False, messages=messages),
        headers={name: value if name != "content-type" else words.text(value) for name, value in one.headers.items()},
    )


def _json(content: bytes | str) -> Any:
    """Return JSON, or the beginning of what is none."""
    try:
        return json.loads(content)
    except (ValueError, UnicodeDecodeError):
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        return text[:2000]


def _only(headers: Any, names: set[str]) -> dict[str, str]:
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name in names or name.startswith(RATES)}
