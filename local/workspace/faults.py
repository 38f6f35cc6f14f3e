"""Misbehaviour on order: answers that are late, wrong, missing, or missing although the run was accepted.

Faults are used up in the order they were ordered in, per kind of call, and per endpoint where they name one; or they
come by chance, as often as ordered, from a seed. Never invents one by itself.
"""

import asyncio
import email.utils
import json
import random
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from local.workspace.errors import body_for, code_of

HANG_UP = "local.hang_up"  # the ASGI extension of server.py that closes the connection

Call = Literal["submit", "status", "list", "endpoint", "token"]


class Fault(Struct, forbid_unknown_fields=True):
    """One order; `times` counts down as it is used."""

    on: Call
    kind: Literal["status", "drop", "accept_then_drop", "delay"]
    status: Annotated[int, Meta(ge=200, le=599)] = 503
    retry_after: Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)] | str | None = None
    delay_s: Annotated[float, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=1)] = 1
    body: Any | UnsetType = UNSET
    accept: bool = False
    endpoint: str | None = None
    """Id of an endpoint, or of a published pipeline: only calls about it meet the fault."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, when fields contradict each other."""
        if self.accept and (self.on, self.kind) != ("submit", "status"):
            raise ValueError("accept: only with on 'submit' and kind 'status'")
        if self.body is not UNSET and self.kind != "status":
            raise ValueError("body: only with kind 'status'")
        if self.kind == "accept_then_drop" and self.on != "submit":
            raise ValueError("kind: 'accept_then_drop' only with on 'submit'")
        if self.endpoint is not None and self.on == "token":
            raise ValueError("endpoint: a token is for no endpoint")
        if isinstance(self.retry_after, str):
            try:
                email.utils.parsedate_to_datetime(self.retry_after)
            except ValueError as error:
                raise ValueError("retry_after: expected seconds or an HTTP date") from error

    def meets(self, on: Call, about: Callable[[str], bool]) -> bool:
        """Tell whether it is ordered for a call of this kind, `about` saying which endpoint the call is about."""
        return self.on == on and (self.endpoint is None or about(self.endpoint))


def take(faults: list[Fault], on: Call, about: Callable[[str], bool]) -> Fault | None:
    """Use up the first fault ordered for such a call, once."""
    for index, fault in enumerate(faults):
        if fault.meets(on, about):
            fault.times -= 1
            if fault.times == 0:
                del faults[index]
            return fault
    return None


class Odds(Struct, forbid_unknown_fields=True):
    """An order for faults by chance."""

    rate: Annotated[float, Meta(ge=0, le=1)]
    """How likely a call meets one: a call of a kind that `faults` has one for."""
    faults: list[Fault] = []
    """What it may meet; a fault's `times` is its weight."""
    seed: int = 0


class Dice:
    """Decides by the odds on order, and counts; one sequence of calls meets the same faults each time."""

    def __init__(self, odds: Odds) -> None:
        self.calls, self.hits = 0, 0
        self.order(odds)

    def order(self, odds: Odds) -> None:
        """Go on with other odds; what was counted stays."""
        self.odds, self._random = odds, random.Random(odds.seed)

    def roll(self, on: Call, about: Callable[[str], bool]) -> Fault | None:
        """Return the fault that such a call meets, mostly none."""
        faults = [fault for fault in self.odds.faults if fault.meets(on, about)]
        if not faults:
            return None
        self.calls += 1
        if self._random.random() >= self.odds.rate:
            return None
        self.hits += 1
        return self._random.choices(faults, [fault.times for fault in faults])[0]


async def commit(fault: Fault, request: Request, act: Callable[[], Awaitable[Response]]) -> Response:
    """Answer a request as the fault says. A submission that is refused anyway is refused as usual."""
    await request.body()  # kept with the request: a client that hangs up during the delay cannot take it back
    if fault.kind == "delay":
        await asyncio.sleep(fault.delay_s)
        return await act()
    if fault.kind == "accept_then_drop" or fault.accept:
        await act()
    await asyncio.sleep(fault.delay_s)
    return HangUp() if fault.kind in ("drop", "accept_then_drop") else _answer(fault, request)


def _answer(fault: Fault, request: Request) -> Response:
    """Build the wrong answer of a `status` fault."""
    headers = {}
    if fault.retry_after is not None:
        after = fault.retry_after
        headers["Retry-After"] = after if isinstance(after, str) else f"{after:g}"
    if isinstance(fault.body, str):
        return Response(fault.body, fault.status, headers, media_type="application/json")
    if fault.body is not UNSET:
        return Response(json.dumps(fault.body), fault.status, headers, media_type="application/json")
    body: dict[str, Any] = {}
    if fault.status >= 400:
        text = "This answer was ordered through /_control/faults."
        body = body_for(request.url.path, fault.status, code_of(fault.status), text)
    return JSONResponse(body, fault.status, headers)


class HangUp(Response):
    """No answer at all: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI)
        """Close the connection, and wait until the server has noticed. Raises KeyError under a foreign server."""
        scope["extensions"][HANG_UP]()
        while (await receive())["type"] != "http.disconnect":
            pass
