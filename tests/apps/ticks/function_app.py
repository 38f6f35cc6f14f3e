"""Timer functions: each second, at the start, and never by itself."""

import json
import logging
import os
import time

import azure.functions as func

app = func.FunctionApp()


def record(name: str, timer: func.TimerRequest) -> None:
    tick = timer.schedule_status["Last"]  # type: ignore[attr-defined] # the abstract class is what the SDK exports
    seen = {"function": name, "tick": tick, "past_due": timer.past_due, "at": time.time()}
    with open(os.environ["RECORD"], "a") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
        file.write(json.dumps(seen) + "\n")


@app.timer_trigger(arg_name="timer", schedule="%EACH_SECOND%")
def each_second(timer: func.TimerRequest) -> None:
    record("each_second", timer)


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
async def at_start(timer: func.TimerRequest) -> None:
    logging.getLogger("ticks").info("hello from the app")
    print("printed by the app")
    record("at_start", timer)


@app.timer_trigger(arg_name="timer", schedule="0 0 1 1 *")
def asked(timer: func.TimerRequest) -> None:
    record("asked", timer)
    raise RuntimeError("on purpose")
