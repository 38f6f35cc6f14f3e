"""What a message of a queue says, however it is encoded. Never judges it."""

import base64

import azure.functions as func


def content_of(message: func.QueueMessage) -> bytes:
    """Return the bytes that a message stands for: decoded where it is base64, else as they are.

    host.json leaves this to us (`messageEncoding`): the platform would move what is no base64 to the poison queue, and
    no function would ever see it there. Event Grid and the blob trigger write base64; people and tools may write JSON
    as it is, which is never base64.
    """
    body = message.get_body()
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        return body
