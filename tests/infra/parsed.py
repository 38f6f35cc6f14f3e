"""Prints the Bicep files of a folder, parsed, as one JSON object by file name.

Runs in the environment of requirements.txt beside it. Never says what is right: tests/test_infra.py does.
"""

import json
import sys
from pathlib import Path

from pycep import BicepParser

files = Path(sys.argv[1]).glob("*.bicep")
print(
    json.dumps({file.name: BicepParser().parse(text=file.read_text(encoding="utf-8")) for file in files}, default=str)
)
