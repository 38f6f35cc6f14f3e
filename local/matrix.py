"""The crash matrix as a table: runs its test (tests/test_crash_matrix.py) and prints what each cell came to.

Reads pytest's report file only; knows neither the tests nor the application.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
TEST, CELL = "tests/test_crash_matrix.py", "test_one_run_in_each_cell"


def matrix(as_json: bool) -> int:
    """Run the tests and print the table. Returns an exit code: 0 only when every test passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", TEST, "-q", "--tb=short", f"--junit-xml={report}"]
        code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
        cells, others = read(report) if report.exists() else ({}, {})
    if not cells:  # pytest has said why
        return code or 1
    reasons = {reason: None for _, reason in cells.values() if reason}
    if as_json:
        rows = [{"step": step, "fault": fault, "result": cell[0]} for (step, fault), cell in cells.items()]
        print(json.dumps({"ok": not code, "cells": rows, "left_out": list(reasons), "others": others}))
        return code
    steps, faults = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in (0, 1))
    widths = [max(len(step) for step in steps), *(len(fault) for fault in faults)]
    for line in [["", *faults], *([step, *(cells[step, fault][0] for fault in faults)] for step in steps)]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    ran = [result for result, reason in cells.values() if not reason]
    print(f"\n{ran.count('ok')} of {len(ran)} cells have exactly one run for each arrival. Left out (–):")
    print(*(f"  {reason}" for reason in reasons), sep="\n")
    return code


def read(report: Path) -> tuple[dict[tuple[str, str], tuple[str, str]], dict[str, str]]:
    """Return result and reason (why left out) of each cell, by step and fault; and the results of the other tests."""
    results, cells = dict[str, str](), dict[tuple[str, str], tuple[str, str]]()
    root = ElementTree.parse(report).getroot()
    for case in root.iter("testcase"):
        ends = {child.tag for child in case} & {"failure", "error", "skipped"}
        results[case.attrib["name"]] = "ok" if not ends else "skipped" if ends == {"skipped"} else "FAIL"
    for item in root.iter("property"):  # one a cell: its name, and why it is left out
        cell = item.attrib["name"]
        found = re.fullmatch(r"(.*: [^-]*)-(.*)", cell)
        assert found is not None
        step, fault = found.groups()
        reason = item.attrib["value"]
        cells[step, fault] = (results.pop(f"{CELL}[{cell}]", "–" if reason else "not run"), reason)
    return cells, results
