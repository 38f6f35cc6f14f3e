"""Queue functions: one that records, one that fails, and one on a poison queue that fails twice."""

import json
import os

import azure.functions as func

app = func.FunctionApp()


def record(**seen: object) -> None:
    with open(os.environ["RECORD"], "a") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
        file.write(json.dumps(seen) + "\n")


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="")
async def work(message: func.QueueMessage) -> None:
    times = (message.insertion_time, message.expiration_time, message.time_next_visible)
    record(
        function="work",
        id=message.id,
        body=message.get_body().decode(),
        count=message.dequeue_count,
        times=[time and time.isoformat() for time in times],
    )


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%-bad", connection="")
def bad(message: func.QueueMessage) -> None:
    record(function="bad", count=message.dequeue_count)
    raise RuntimeError("on purpose")


@app.queue_trigger(arg_name="body", queue_name="%QUEUE%-bad-poison", connection="")
def poisoned(body: str) -> None:
    record(function="poisoned", body=body)
    raise RuntimeError("on purpose, in a poison queue")
