"""Metrics: what is counted on an arrival's way, that it really leaves by OTLP, and that it costs nothing while off."""

import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shared import metrics
from shared.app import App
from shared.flow.arrive import arrive
from shared.flow.tick import tick
from shared.rules.arrival import Source
from tests import samples
from tests.fixtures_workspace import LocalWorkspace

ROOT = Path(__file__).parent.parent


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[float, dict[str, str]]]]:
    """What is recorded, by instrument."""
    found: dict[str, list[tuple[float, dict[str, str]]]] = {}

    def recorder(name: str) -> Any:
        return lambda value, attributes: found.setdefault(name, []).append((value, attributes))

    monkeypatch.setattr(metrics, "_recorders", {name: recorder(name) for name in metrics.INSTRUMENTS})
    return found


@pytest.mark.usefixtures("empty_container")
def test_numbers_of_arrivals(
    app: App, workspace: LocalWorkspace, recorded: dict[str, list[tuple[float, dict[str, str]]]]
) -> None:
    """One that becomes a run, one that is refused, one that no rule takes, one whose endpoint takes nothing; a tick."""
    faults = {"b": {"kind": "status", "status": 400}, "c": {"kind": "status", "status": 403}}
    for name in ("income/us/a.csv", "income/us/b.csv", "income/us/c.csv", "scratch/d.csv"):
        workspace.upload(name, f"a\n{name}\n")
        if fault := faults.get(name[-5]):
            workspace.control("POST", "faults", [{"on": "submit", **fault}])
        arrive(app, "training", name, Source.BLOB_EVENT)
    tick(app)
    counts = Counter({name: len(values) for name, values in recorded.items()})
    assert counts == {
        "retrain.arrivals": 3,
        "retrain.submissions": 1,
        "retrain.latency": 1,
        "retrain.refusals": 1,
        "retrain.skips": 1,
        "retrain.open": 1,
        "retrain.blocked": 1,
    }
    assert [value for value, _ in recorded["retrain.open"]] == [2]
    assert [value for value, _ in recorded["retrain.blocked"]] == [1]
    [(latency, attributes)] = recorded["retrain.latency"]
    assert 0 <= latency < 60
    assert attributes == {"rule": samples.RULE.name}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector of OTLP over HTTP: its address, and what it gets."""
    got = list[bytes]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take it."""
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def run(code: str, **environ: str) -> str:
    """Run code in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_metrics_leave_by_otlp(collector: tuple[str, list[bytes]]) -> None:
    """With their names, units and attributes, as a real exporter sends them."""
    url, got = collector
    code = """
from shared import metrics
metrics.record("retrain.arrivals", rule="before it was started")
metrics.start("otlp")
metrics.start("otlp")
metrics.record("retrain.arrivals", rule="r")
metrics.record("retrain.arrivals", rule="r")
metrics.record("retrain.latency", 1.5, rule="r")
metrics.record("retrain.open", 7)
"""
    run(code, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_COMPRESSION="none")
    found = {
        metric.name: metric
        for body in got
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    [arrivals] = found["retrain.arrivals"].sum.data_points
    assert (arrivals.as_int or arrivals.as_double) == 2
    assert [(one.key, one.value.string_value) for one in arrivals.attributes] == [("rule", "r")]
    assert found["retrain.latency"].unit == "s"
    assert found["retrain.latency"].histogram.data_points[0].sum == 1.5
    assert found["retrain.open"].gauge.data_points[0].as_int == 7


def test_packages_that_are_not_there_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the cure; the app goes on without."""
    caplog.set_level(logging.INFO, "retrain")
    for name in [name for name in sys.modules if name.startswith("azure.monitor")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "azure.monitor.opentelemetry", None)
    metrics.start("azure-monitor")
    assert "metrics_off" in caplog.text
    assert "Add azure-monitor-opentelemetry to requirements.txt" in caplog.text
    metrics.record("retrain.arrivals")


def test_cold_start_imports_nothing_that_only_some_need() -> None:
    """Neither metrics, nor pages, nor signatures."""
    code = "import sys, function_app; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = run(code, **samples.ENVIRON)
    assert [name for name in ("opentelemetry", "jinja2", "standardwebhooks", "stamina") if f"'{name}'" in loaded] == []
