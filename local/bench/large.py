"""Large data: a blob of 5 GB, a folder of 100,000 files; memory and time beside small ones. Never moves so many bytes:
the blob is one block, committed many times, and the files are one file's content under many names.
"""

import uuid
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobBlock

from local.bench import environments as who
from local.bench import stock
from local.bench.contestant import Contestant
from local.bench.growth import GROWTH
from local.bench.measure import Bench, Result, Table, sample
from local.bench.servers import Servers, servers

BLOCK = 50 * 1024**2
MARKER = "_SUCCESS"


def run(bench: Bench) -> Result:
    """Take the measure."""
    result = Result()
    stand = who.stands(bench, result.missing, who.OURS)[who.OURS]
    blob(bench, result, stand)
    folder(bench, result, stand)
    return result


def blob(bench: Bench, result: Result, stand: who.Stand) -> None:
    """An arrival of a large blob, and of a small one, each in a process of its own."""
    blocks = bench.of(100, 4)
    rounds = bench.of(9, 2)
    bench.say(f"large data: a blob of {blocks * BLOCK / 1e9:.1f} GB ...")
    kinds = {"5 KB": 0, f"{blocks * BLOCK / 1e9:.1f} GB": blocks}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    with servers(bench.logs) as running:
        for number in range(rounds):
            for name, size in kinds.items():
                path = f"income/us/{number}-{size}.csv"
                write(running, path, size)
                with Contestant(f"blob {name}", stand.python, GROWTH, running.environment(), bench.logs) as one:
                    taken[name].append(one.act("arrival", path))
    rows = []
    for name, turns in taken.items():
        peak, wall = (sample([turn[what] for turn in turns]) for what in ("peak_mb", "wall_s"))
        rows.append((name, peak.told(), wall.told(1000, 0)))
    small, large = (sample([turn["peak_mb"] for turn in turns]).median for turns in taken.values())
    result.figures |= {"peak_mb.small": small, "peak_mb.large": large, "peak_ratio": large / small}
    columns = ("blob", "peak MB of the process", "first arrival of a process, wall ms")
    result.tables.append(Table(f"A large blob, median of {rounds} (quartiles)", columns, rows))


def write(running: Servers, path: str, blocks: int) -> None:
    """Write a blob: a small one, or one block so many times."""
    with running.container() as container, container.get_blob_client(path) as client:
        if not blocks:
            client.upload_blob(b"x" * 5_000)
            return
        name = uuid.uuid4().hex
        client.stage_block(name, b"x" * BLOCK)
        client.commit_block_list([BlobBlock(name)] * blocks)
        size = client.get_blob_properties().size
        if size != blocks * BLOCK:
            raise RuntimeError(f"{path} has {size:,} bytes, and was to have {blocks * BLOCK:,}")


def folder(bench: Bench, result: Result, stand: who.Stand) -> None:
    """The marker of a folder arrives: the folder is listed, and one run is started on it."""
    rows = []
    for count in (100, bench.of(100_000, 1_000)):
        bench.say(f"large data: a folder of {count:,} files ...")
        took, requests = one_folder(bench.logs / f"folder-{count}", stand, count)
        rows.append(
            (
                f"{count:,}",
                took["told"],
                f"{took['wall_s']:.2f}",
                f"{took['cpu_s']:.2f}",
                f"{took['peak_mb']:.0f}",
                requests,
            )
        )
        result.figures |= {
            f"folder.{count}.wall_s": took["wall_s"],
            f"folder.{count}.cpu_s": took["cpu_s"],
            f"folder.{count}.peak_mb": took["peak_mb"],
        }
    columns = ("files", "then it is", "wall s", "CPU s", "peak MB", "requests")
    result.tables.append(Table("The marker of a folder arrives", columns, rows))


def one_folder(logs: Path, stand: who.Stand, count: int) -> tuple[dict[str, Any], str]:
    """Return what the marker's arrival takes, and its requests."""
    logs.mkdir()
    with servers(logs, keep=logs / "storage") as running:
        running.upload(["income/us/first.csv"])
        stock.wait_until_kept()
    stock.multiply(logs / "storage", stock.blobs(count - 1, lambda number: f"income/us/{number:06d}.csv"))
    with servers(logs, keep=logs / "storage", counting=True) as running:
        running.upload([f"income/us/{MARKER}"])
        with Contestant(f"folder {count}", stand.python, GROWTH, running.environment(), logs) as one:
            one.act("whole_folders", MARKER)
            with running.counted() as found:
                took = one.act("arrival", f"income/us/{MARKER}")
    return took, ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
