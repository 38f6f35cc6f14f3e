"""Numbers for dashboards, through the OpenTelemetry API: how much arrives, is submitted, refused, waits, and how fast.

Off unless RETRAIN_METRICS says where they go; then the packages that send them are imported, which are no part of the
app (docs/settings.md). Never keeps anything from being done: what cannot be sent is a line in the log.
"""

import logging
from collections.abc import Callable
from typing import Any

from shared.log import log

NAME = "retrain_trigger"
# Name, kind, unit, meaning. After OpenTelemetry's naming: dots, singular, unit apart.
INSTRUMENTS = {
    "retrain.arrivals": ("counter", "{request}", "Retrain requests that got their row."),
    "retrain.submissions": ("counter", "{run}", "Submissions that the endpoint accepted."),
    "retrain.refusals": ("counter", "{request}", "Requests that the endpoint refused."),
    "retrain.skips": ("counter", "{blob}", "Blobs and folders that started nothing."),
    "retrain.latency": ("histogram", "s", "From the data's being written to the accepted submission."),
    "retrain.open": ("gauge", "{request}", "Requests that the app brings to their end, seen by the last tick."),
    "retrain.blocked": ("gauge", "{endpoint}", "Endpoints that take nothing, seen by the last tick."),
}
_recorders: dict[str, Callable[..., None]] = {}


def record(name: str, value: float = 1, **attributes: str) -> None:
    """Add to a counter, or tell a histogram or gauge its value. Does nothing while metrics are off."""
    if recorder := _recorders.get(name):
        recorder(value, attributes)


def start(where: str) -> None:
    """Send metrics from now on: to `azure-monitor`, or by `otlp` to where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    if _recorders:
        return
    try:
        PROVIDERS[where]()
    except ImportError as error:
        cure = f"Add {PACKAGES[where]} to requirements.txt, or take RETRAIN_METRICS away."
        log("metrics_off", logging.ERROR, reason=error, cure=cure)
        return
    from opentelemetry.metrics import get_meter

    meter: Any = get_meter(NAME)
    for name, (kind, unit, meaning) in INSTRUMENTS.items():
        instrument = getattr(meter, f"create_{kind}")(name, unit=unit, description=meaning)
        verb = {"counter": "add", "histogram": "record", "gauge": "set"}[kind]
        _recorders[name] = getattr(instrument, verb)


def _otlp() -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))


def _azure_monitor() -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(disable_logging=True, disable_tracing=True)


PROVIDERS = {"otlp": _otlp, "azure-monitor": _azure_monitor}
PACKAGES = {"otlp": "opentelemetry-exporter-otlp-proto-http", "azure-monitor": "azure-monitor-opentelemetry"}
