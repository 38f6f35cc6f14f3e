"""The timer: brings open work on and looks for missed arrivals. Never overlaps: the platform runs one at a time."""

import azure.functions as func

from shared import flow, wiring
from shared.settings import Settings


def blueprint(settings: Settings) -> func.Blueprint:
    """Return a blueprint with the timer on the schedule of `settings`."""
    made = func.Blueprint()

    @made.function_name("tick")
    @made.timer_trigger(arg_name="timer", schedule=settings.timer_schedule, use_monitor=False)
    def tick(timer: func.TimerRequest) -> None:
        flow.tick(wiring.app())

    return made
