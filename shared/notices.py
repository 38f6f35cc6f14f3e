"""Tells somebody over HTTP: a signed message (Standard Webhooks 1.0), or one as Slack and Teams take it.

One message, one request, no redirects. Never shows the address or the secret, and never decides what is told.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import requests

from shared.pipelines.calls import new_session, retry_after

LIMITS = 5, 10  # seconds, to connect and for the answer


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A message."""

    id: str
    """The same whenever it is sent again: receivers know by it what they have."""
    type: str
    """Such as `retrain.failed`."""
    at: datetime
    """When it came about."""
    text: str
    """All of it in a sentence or two."""
    data: dict[str, Any]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    verdict: Literal["told", "not_told", "gone"]
    """`gone`: the receiver wants no more of these (410)."""
    reason: str = ""
    retry_after: timedelta | None = None


def send(notice: Notice, url: str, form: str, secret: str) -> Sent:
    """Send a message once. Never raises."""
    body = json.dumps(FORMS[form](notice), ensure_ascii=False)
    headers = {"content-type": "application/json", **(_signed(notice.id, body, secret) if secret else {})}
    try:
        with new_session() as session:
            answer = session.post(url, data=body.encode(), headers=headers, timeout=LIMITS, allow_redirects=False)
    except requests.RequestException as error:
        return Sent(verdict="not_told", reason=type(error).__name__)  # its text has the address
    if 200 <= answer.status_code < 300:
        return Sent(verdict="told")
    verdict: Literal["not_told", "gone"] = "gone" if answer.status_code == 410 else "not_told"
    return Sent(verdict=verdict, reason=f"answered {answer.status_code}", retry_after=retry_after(answer))


def _signed(id_: str, body: str, secret: str) -> dict[str, str]:
    from standardwebhooks.webhooks import Webhook  # only where something is told

    now = datetime.now(UTC)
    signature = Webhook(secret).sign(id_, now, body)
    return {"webhook-id": id_, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def _standard(notice: Notice) -> dict[str, Any]:
    return {
        "type": notice.type,
        "timestamp": notice.at.isoformat(),
        "data": {"text": notice.text, **msgspec.to_builtins(notice.data)},
    }


def _slack(notice: Notice) -> dict[str, Any]:
    """Return the body of an incoming webhook (Slack, "Sending messages using incoming webhooks")."""
    text = notice.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}


def _teams(notice: Notice) -> dict[str, Any]:
    """Return the body of a workflow that posts an adaptive card (Microsoft Teams, "When a Teams webhook request")."""
    facts = [{"title": name, "value": str(value)} for name, value in notice.data.items() if value]
    words = [{"type": "TextBlock", "text": notice.text, "wrap": True}, {"type": "FactSet", "facts": facts}]
    schema = "http://adaptivecards.io/schemas/adaptive-card.json"
    card = {"$schema": schema, "type": "AdaptiveCard", "version": "1.4", "body": words}
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


FORMS = {"standard": _standard, "slack": _slack, "teams": _teams}
