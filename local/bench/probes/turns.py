"""Runs `act` of a file once for each line on stdin, and says what it took. Standard library only: any Python runs it.

    python turns.py benchmarks/bare/arrival.py

Never measures its own reading and writing.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path


def peak_mb() -> float:
    """Return the most memory that this process ever had; 0 where the system does not tell.

    Not by `getrusage`: there the memory of whoever started the process counts, too.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main(source: str) -> None:
    """Serve until there are no more lines."""
    out, sys.stdout = sys.stdout, sys.stderr
    root = Path(__file__).resolve().parents[3]
    sys.path[0] = str(Path(source).resolve().parent)
    sys.path.append(str(root))
    spec = importlib.util.spec_from_file_location("measured", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for line in sys.stdin:
        words = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        answer = module.act(*words)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        told = {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "told": answer}
        print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
