"""Calls to a service of Azure ML, whatever its kind of endpoint: a submission once, a read again with a fresh token.

Never sends again what may have been accepted, and never follows a redirect: a token goes where it was meant to go.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from shared.errors import EndpointError, masked
from shared.identity import Tokens
from shared.log import log
from shared.pipelines import wire
from shared.pipelines.base import Answer, Limits, NotAccepted, ReadError, Refused, Unknown

# Reading, in seconds for connecting and between two parts of the answer: the timer reads again, and others wait.
READ_LIMITS = (5, 10)
# At most this many sendings of what surely was not accepted; the time for them is in Limits.
ATTEMPTS = 4
LONGEST_PAUSE_S = 86_400
# Statuses that are about the request itself: it would be refused again.
ABOUT_THE_REQUEST = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Caller:
    """Sends with bearer tokens, over a session that others share; safe to share between threads."""

    def __init__(self, tokens: Tokens, session: requests.Session, limits: Limits) -> None:
        """Send with `tokens`, submissions within `limits`."""
        self.tokens, self.session, self.limits = tokens, session, limits

    def submit(
        self,
        url: str,
        content: bytes,
        accepted: Callable[[requests.Response], Answer | None],
        *,
        key: str,
        in_time: Callable[[], bool],
        patient: bool,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send a submission. Every outcome is an Answer; nothing is raised for one.

        `accepted` reads what a response means that says so, and returns None for the others. `in_time` is asked right
        before each sending: a token, a pause or the whole machine may have taken so long that somebody else sends by
        now. `patient`: what surely was not accepted, and may be soon, is sent again within a bound.
        """

        def send() -> Answer:
            return self._once(method, url, content, headers or {}, accepted, in_time)

        answer = send()
        if patient and isinstance(answer, NotAccepted) and answer.soon:
            return self._again(key, answer, send)
        return answer

    def _again(self, key: str, answer: Answer, send: Callable[[], Answer]) -> Answer:
        """Send what surely was not accepted a few times more, after the pause that the service asks for.

        A pause that does not fit is left to the timer.
        """
        import stamina

        stamina.instrumentation.set_on_retry_hooks([])  # its own lines say neither key nor reason
        try:
            for attempt in stamina.retry_context(on=self._pause, attempts=ATTEMPTS, timeout=self.limits.retry_s):
                with attempt:
                    answer = send() if attempt.num > 1 else answer
                    if isinstance(answer, NotAccepted) and answer.soon:
                        log("not_accepted", key=key, sending=attempt.num, reason=answer.reason)
                        raise _NotAcceptedError(answer)
        except _NotAcceptedError as error:
            return error.answer
        return answer

    def _pause(self, error: Exception) -> bool | float:
        """Tell stamina whether to send again, and after how many seconds (True: its own growing pause)."""
        if not isinstance(error, _NotAcceptedError) or error.answer.retry_after is None:
            return isinstance(error, _NotAcceptedError)
        pause = error.answer.retry_after.total_seconds()
        return pause if pause < self.limits.retry_s else False

    def _once(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        accepted: Callable[[requests.Response], Answer | None],
        in_time: Callable[[], bool],
    ) -> Answer:
        """Send once; on 401 once more with a fresh token, since one may end early (rotation, clocks)."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            try:
                token = self.tokens.get()
            except EndpointError as error:
                return NotAccepted(reason=str(error))
            if not in_time():
                reason = "This worker stood still for too long before it could send."
                return NotAccepted(reason=reason, blocked=False)
            try:
                response = self.session.request(
                    method,
                    url,
                    data=content,
                    headers={**headers, "Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                    timeout=(self.limits.connect_s, self.limits.read_s),
                    allow_redirects=False,  # a token goes where it was meant to go
                )
            except requests.ConnectTimeout as error:
                return NotAccepted(reason=_text(error), soon=True)
            except requests.ConnectionError as error:
                # Without a connection nothing was sent; a connection that broke later may have carried the request.
                if cause := _never_connected(error):
                    return NotAccepted(reason=f"No connection to {_service(url)}: {cause}", soon=True)
                return Unknown(reason=_text(error))
            except requests.RequestException as error:
                return Unknown(reason=_text(error))
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                break
        return accepted(response) or refused(response)

    def read(self, method: str, url: str, data: Any = None) -> requests.Response:
        """Send a request that starts nothing. Raises EndpointError unless it is answered 2xx, or 404 to a search."""
        for fresh in (False, True):
            if fresh:
                self.tokens.forget()
            headers = {"Authorization": f"Bearer {self.tokens.get()}"}
            try:
                response = self.session.request(
                    method, url, json=data, headers=headers, timeout=READ_LIMITS, allow_redirects=False
                )
            except requests.RequestException as error:
                cause = _never_connected(error) if isinstance(error, requests.ConnectionError) else ""
                told = f"no connection: {cause}" if cause else _text(error)
                raise ReadError(f"{method} {url}: {told}") from error
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                break
        if 200 <= response.status_code < 300 or (data and response.status_code == HTTPStatus.NOT_FOUND):
            return response
        raise ReadError(f"{method} {url}: {response.status_code} {wire.error(response)}", response.status_code)


def refused(response: requests.Response) -> Answer:
    """Tell what a response means that accepts nothing."""
    status = response.status_code
    reason = f"{status} {wire.error(response)}"
    if status in ABOUT_THE_REQUEST:
        return Refused(reason=reason)
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
        soon = status == HTTPStatus.TOO_MANY_REQUESTS
        return NotAccepted(reason=reason, soon=soon, retry_after=retry_after(response))
    return Unknown(reason=reason)


def new_session() -> requests.Session:
    """Return a session that threads share: it keeps connections, and nothing else from one request to the next."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        # The library sends nothing twice by itself.
        session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=64))
    session.trust_env = False  # no credentials from a .netrc in place of the token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class _NotAcceptedError(Exception):
    """Carries a NotAccepted to where it is decided whether to send again."""

    def __init__(self, answer: NotAccepted) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """Return how long the service asks to wait: seconds or a date (RFC 9110, 10.2.3); None when it does not say.

    At most a day: what asks for longer is asked again then.
    """
    value = response.headers.get("Retry-After", "")
    try:
        if value.isdecimal():
            return timedelta(seconds=min(int(value), LONGEST_PAUSE_S))
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)  # "-0000": a time in UTC, of unknown zone
    pause = (when - (now or datetime.now(UTC))).total_seconds()
    return timedelta(seconds=min(max(pause, 0), LONGEST_PAUSE_S))


def _never_connected(error: requests.ConnectionError) -> str:
    """Return why no connection could be made (refused, no route, no such host); empty when there was one."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if type(reason).__name__ not in {"NewConnectionError", "NameResolutionError"}:
        return ""
    return str(reason).rpartition(": ")[2]  # what is in front names objects of the library


def _text(error: Exception) -> str:
    return masked(f"{type(error).__name__}: {error}")[:500]


def _service(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
