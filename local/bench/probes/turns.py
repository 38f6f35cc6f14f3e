"""Runs `act` of a file once for each line on stdin, and says what it took. Standard library only: any Python runs it.

    python turns.py benchmarks/bare/arrival.py

Never measures its own reading and writing.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

if sys.platform == "win32":

    def peak_mb() -> float:
        """Return nothing that could be compared: this platform keeps no such figure here."""
        return 0.0

else:
    import resource

    def peak_mb() -> float:
        """Return the most memory that this process ever had."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


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
