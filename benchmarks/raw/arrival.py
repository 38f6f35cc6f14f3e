"""The same four calls as `shortest`, as requests signed by hand: the floor. Never a way to write an app."""

import base64
import hashlib
import hmac
import json
import os
import re
import time
import uuid
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import urlencode, urlsplit

import requests

VERSION, CONTAINER = "1", os.environ["TRAINING_CONTAINER"]
TABLE, PARTITION = os.environ.get("RAW_TABLE", "raw"), os.environ.get("RAW_PARTITION", "income")
STORAGE = dict(part.split("=", 1) for part in os.environ["TrainingStorage"].rstrip(";").split(";"))
ACCOUNT, KEY = STORAGE["AccountName"], base64.b64decode(STORAGE["AccountKey"])
BLOBS, TABLES = STORAGE["BlobEndpoint"], STORAGE["TableEndpoint"]
API = "2021-12-02"
FRESH = "RAW_FRESH" in os.environ  # a server that was busy for long has closed connections: nothing is retried
URL = f"{os.environ['INCOME_ENDPOINT_URL']}/{VERSION}?pipelineVersion={VERSION}"
session = requests.Session()
token: tuple[str, float] = ("", 0.0)


def signed(text: str) -> str:
    """Return the signature of the Shared Key schemes."""
    return base64.b64encode(hmac.new(KEY, text.encode(), hashlib.sha256).digest()).decode()


def canonical(url: str) -> str:
    """Return the resource as the signature has it."""
    return f"/{ACCOUNT}{urlsplit(url).path}"


def properties(path: str) -> str:
    """Return the ETag of a blob."""
    url = f"{BLOBS}/{CONTAINER}/{path}"
    date = formatdate(usegmt=True)
    signature = signed(f"HEAD{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{API}\n{canonical(url)}")
    headers = {"x-ms-date": date, "x-ms-version": API, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    answer = session.head(url, headers=headers, timeout=20)
    answer.raise_for_status()
    return answer.headers["ETag"]


def batch(operations: list[tuple[str, str, dict[str, str], dict[str, str]]]) -> str:
    """Run one entity-group transaction: method, address, further headers, entity of each; return the answer."""
    outer, inner = f"batch_{uuid.uuid4()}", f"changeset_{uuid.uuid4()}"
    lines = [f"--{outer}", f"Content-Type: multipart/mixed; boundary={inner}", ""]
    for method, url, more, entity in operations:
        head = {"Content-Type": "application/json", "Accept": "application/json;odata=minimalmetadata", **more}
        lines += [f"--{inner}", "Content-Type: application/http", "Content-Transfer-Encoding: binary", ""]
        lines += [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), ""]
        lines += [json.dumps(entity)]
    body = "\r\n".join([*lines, f"--{inner}--", "", f"--{outer}--", ""])
    url, date = f"{TABLES}/$batch", formatdate(usegmt=True)
    headers = {
        "Authorization": f"SharedKeyLite {ACCOUNT}:{signed(f'{date}{chr(10)}{canonical(url)}')}",
        "Content-Type": f"multipart/mixed; boundary={outer}",
        "x-ms-date": date,
        "x-ms-version": "2019-02-02",
        "DataServiceVersion": "3.0;",
        "MaxDataServiceVersion": "3.0;NetFx",
    }
    answer = session.post(url, data=body.encode(), headers=headers, timeout=20)
    answer.raise_for_status()
    bad = [status for status in re.findall(r"HTTP/1.1 (\d+)", answer.text) if not status.startswith("2")]
    if bad:
        raise RuntimeError(f"transaction: {bad}: {answer.text}")
    return answer.text


def bearer() -> str:
    """Return a token of the managed identity; one serves until it is about to end."""
    global token
    if token[1] < time.time() + 300:
        query = urlencode({"api-version": "2019-08-01", "resource": "https://management.azure.com"})
        headers = {"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]}
        told = session.get(f"{os.environ['IDENTITY_ENDPOINT']}?{query}", headers=headers, timeout=20).json()
        token = told["access_token"], float(told["expires_on"])
    return token[0]


def make_table() -> None:
    """Make the table, unless an earlier process has."""
    url, date = f"{TABLES}/Tables", formatdate(usegmt=True)
    headers = {
        "Authorization": f"SharedKeyLite {ACCOUNT}:{signed(f'{date}{chr(10)}{canonical(url)}')}",
        "Accept": "application/json;odata=minimalmetadata",
        "x-ms-date": date,
        "x-ms-version": "2019-02-02",
    }
    answer = session.post(url, json={"TableName": TABLE}, headers=headers, timeout=20)
    if answer.status_code not in (201, 204, 409):
        answer.raise_for_status()


make_table()


def act(path: str) -> str:
    """Let a blob arrive; return the run's id."""
    if FRESH:
        session.close()
    etag = properties(path)
    key = hashlib.sha256(f"income|training|{path}|{etag}".encode()).hexdigest()
    now = datetime.now(UTC).isoformat()
    history = {"PartitionKey": PARTITION, "RowKey": f"h-{key}", "Path": path, "ETag": etag, "SentAt": now}
    open_row = {"PartitionKey": PARTITION, "RowKey": f"o-{key}", "State": "sending", "DueAt": now}
    where = f"{TABLES}/{TABLE}"
    told = batch([("POST", where, {}, {**history, "State": "sending"}), ("POST", where, {}, open_row)])
    unchanged = re.findall(r"(?im)^etag: (.+?)\r?$", told)[0]
    notes = {"retrain.key": key}
    body = {
        "ExperimentName": "income-retrain",
        "RunSource": "API",
        "DataPathAssignments": {"input_data": {"DataStoreName": "training", "RelativePath": path}},
        "ParameterAssignments": {},
        "tags": notes,
        "Properties": notes,
    }
    answer = session.post(URL, json=body, headers={"Authorization": f"Bearer {bearer()}"}, timeout=(5, 60))
    answer.raise_for_status()
    run = str(answer.json()["Id"])

    def entity(row: dict[str, str]) -> str:
        return f"{where}(PartitionKey='{row['PartitionKey']}',RowKey='{row['RowKey']}')"

    changed = {"State": "submitted", "Run": run}
    batch(
        [
            ("MERGE", entity(history), {"If-Match": unchanged}, changed),
            ("PUT", entity(open_row), {}, {**open_row, **changed}),
        ]
    )
    return run
