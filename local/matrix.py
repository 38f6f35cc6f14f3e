"""The two matrices as tables: runs their tests and prints what each cell came to.

The crash matrix has the steps of an arrival's way and what strikes there (tests/test_crash_matrix.py); the change
matrix has the open states and the edits of retrain.toml (tests/test_change_matrix.py). Reads pytest's report file only;
knows neither the tests nor the application, and judges nothing by itself.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


class Matrix(NamedTuple):
    """A test with a cell for each row and column; its id is `row | column`."""

    name: str
    """The tests list each cell as a property `name | row | column` of their run: why it is left out, or nothing."""
    file: str
    test: str
    promise: str


MATRICES = (
    Matrix("crash", "test_crash_matrix", "test_one_run_in_each_cell", "have exactly one run for each arrival"),
    Matrix("change", "test_change_matrix", "test_promise_in_each_cell", "keep the promise"),
)

Cells = dict[tuple[str, str], tuple[str, str]]
"""Result and reason (why left out) of each cell, by row and column."""


def matrix(as_json: bool) -> int:
    """Run the tests and print the tables. Returns an exit code: 0 only when every test passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [f"tests/{one.file}.py" for one in MATRICES]
        command = [sys.executable, "-m", "pytest", *files, "-q", "--tb=short", f"--junit-xml={report}"]
        code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
        found = [(one, *read(report, one)) for one in MATRICES] if report.exists() else []
    if not all(cells for _, cells, _ in found) or not found:  # pytest has said why
        return code or 1
    if as_json:
        told = {one.name: _json(cells, others) for one, cells, others in found}
        print(json.dumps({"ok": not code, **told}))
        return code
    for one, cells, _ in found:
        _print(one, cells)
    return code


def read(report: Path, one: Matrix) -> tuple[Cells, dict[str, str]]:
    """Return the cells of a matrix, and the results of the other tests of its file."""
    results, cells = dict[str, str](), Cells()
    root = ElementTree.parse(report).getroot()
    for case in root.iter("testcase"):
        if case.attrib["classname"] == f"tests.{one.file}":
            ends = {child.tag for child in case} & {"failure", "error", "skipped"}
            results[case.attrib["name"]] = "ok" if not ends else "skipped" if ends == {"skipped"} else "FAIL"
    for item in root.iter("property"):
        name, *cell = item.attrib["name"].split(" | ")
        if name == one.name:
            row, column = cell
            reason = item.attrib["value"]
            cells[row, column] = (results.pop(f"{one.test}[{row} | {column}]", "–" if reason else "not run"), reason)
    return cells, results


def _json(cells: Cells, others: dict[str, str]) -> dict[str, object]:
    rows = [{"row": row, "column": column, "result": cell[0]} for (row, column), cell in cells.items()]
    return {"cells": rows, "left_out": _reasons(cells), "others": others}


def _print(one: Matrix, cells: Cells) -> None:
    rows, columns = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in (0, 1))
    widths = [max(len(row) for row in rows), *(max(len(column), 4) for column in columns)]
    print(f"\nThe {one.name} matrix\n")
    for line in [["", *columns], *([row, *(cells[row, column][0] for column in columns)] for row in rows)]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    ran = [result for result, reason in cells.values() if not reason]
    print(f"\n{ran.count('ok')} of {len(ran)} cells {one.promise}.")
    if reasons := _reasons(cells):
        print("Left out (–):", *(f"  {reason}" for reason in reasons), sep="\n")


def _reasons(cells: Cells) -> list[str]:
    return list(dict.fromkeys(reason for _, reason in cells.values() if reason))
