"""The timer: brings open work on and looks for missed arrivals. Never overlaps: the platform runs one at a time."""

import azure.functions as func

from shared.app import app
from shared.flow.tick import tick as bring_on
from shared.settings.model import Settings


def blueprint(settings: Settings) -> func.Blueprint:
    """Return a blueprint with the timer on the schedule of `settings`."""
    made = func.Blueprint()

    @made.function_name("tick")
    @made.timer_trigger(arg_name="timer", schedule=settings.timer_schedule, use_monitor=False)
    def tick(timer: func.TimerRequest) -> None:
        bring_on(app())

    return made
