"""Stand-ins for the protobuf messages between the platform's host and its Python worker.

The worker library takes the message classes from its caller and only ever sets and reads their attributes, so plain
objects do (azure_functions_runtime 1.3.0; the names and numbers are those of FunctionRpc.proto).

Never serialised: host and worker share one process here.
"""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


class Message:
    """One message: the fields given, as attributes."""

    def __init__(self, **fields: Any) -> None:
        """Set `fields`; in a one-of message, exactly the one that is set."""
        self.__dict__.update(fields)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802
        """Return the name of the field that is set, as protobuf does for a one-of."""
        return next(iter(self.__dict__), None)

    def get(self, field: str) -> Any:
        """Return a field, None when it was not set."""
        return self.__dict__.get(field)


class StatusResult(Message):
    """Whether a request to the worker succeeded."""

    Failure, Success = 0, 1


class BindingInfo(Message):
    """One binding of a function; the numbers are its directions, and "undefined" of its data types."""

    undefined, out, inout = 0, 1, 2


class RpcHttpCookie(Message):
    """One Set-Cookie of a response."""

    SameSite = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})


_PLAIN = """WorkerInitResponse WorkerMetadata FunctionMetadataResponse FunctionLoadResponse InvocationResponse
    RpcException RpcFunctionMetadata RpcRetryOptions TypedData RpcHttp ParameterBinding NullableString NullableBool
    NullableDouble NullableTimestamp Timestamp"""

# What the worker library calls `protos`.
PROTOS = SimpleNamespace(
    StatusResult=StatusResult,
    BindingInfo=BindingInfo,
    RpcHttpCookie=RpcHttpCookie,
    **{name: type(name, (Message,), {}) for name in _PLAIN.split()},
)


def text(value: str) -> Message:
    """Typed data: a string."""
    return Message(string=value)


def json_text(value: object) -> Message:
    """Typed data: anything else in trigger metadata travels as JSON text."""
    return Message(json=json.dumps(value, default=str))


def text_or_bytes(value: bytes) -> Message:
    """Typed data: a string where the bytes are UTF-8, else the bytes."""
    try:
        return text(value.decode())
    except UnicodeDecodeError:
        return Message(bytes=value)


def http(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    params: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
) -> Message:
    """Typed data: an HTTP request; no body at all when it is empty."""
    content = Message(bytes=body) if body else Message()
    return Message(http=Message(method=method, url=url, headers=headers, params=params, query=query, body=content))


def blob_reference(connection: str, container: str, blob: str) -> Message:
    """Typed data for an SDK type: where the blob is, never its content."""
    content = json.dumps({"Connection": connection, "ContainerName": container, "BlobName": blob}).encode()
    return Message(
        model_binding_data=Message(
            version="1.0", source="AzureStorageBlobs", content_type="application/json", content=content
        )
    )
