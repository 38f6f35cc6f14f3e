"""A fresh process as on the platform: the worker library indexes an app and, if told so, runs its function.

    python index.py APP_FOLDER WORKER_PACKAGES [BLOB]

Packages come first on the path, then the worker's own, the app's folder last. Prints one JSON object: the functions
that were found. With BLOB the function with the blob trigger runs for that blob. Needs no Python newer than 3.11, and
measures nothing: who starts it does.
"""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = str(Path(__file__).resolve().parents[3])


async def main(app: str, worker: str, blob: str = "") -> None:
    """Index, and run."""
    sys.path[0] = ROOT
    from local.host.messages import PROTOS, Message, blob_reference, json_text, text

    del sys.path[0]
    sys.path += [worker, app]
    import azure_functions_runtime as runtime

    logging.disable(logging.WARNING)
    os.chdir(app)
    runtime.start_threadpool_executor()
    init = SimpleNamespace(capabilities={}, function_app_directory=app)
    answer = await runtime.worker_init_request(
        SimpleNamespace(
            request=SimpleNamespace(worker_init_request=init), properties={"protos": PROTOS, "host": "127.0.0.1"}
        )
    )
    if answer.result.status != PROTOS.StatusResult.Success:
        raise SystemExit(answer.result.exception.stack_trace)
    found = (await runtime.functions_metadata_request(None)).function_metadata_results
    print(json.dumps(sorted(one.name for one in found)), flush=True)
    if not blob:
        return
    function, binding = next(
        (one, binding)
        for one in found
        for binding in map(json.loads, one.raw_bindings)
        if binding["type"] == "blobTrigger"
    )
    by_reference = bool(binding.get("properties", {}).get("SupportsDeferredBinding"))
    container = os.environ["TRAINING_CONTAINER"]
    data = blob_reference(binding["connection"], container, blob) if by_reference else Message(bytes=b"age\n1\n")
    metadata = {
        "BlobTrigger": text(f"{container}/{blob}"),
        "Uri": json_text(f"http://127.0.0.1/{container}/{blob}"),
        "Properties": json_text({"ContentLength": 6}),
        "Metadata": json_text({}),
    }
    name = binding["name"]
    invocation = SimpleNamespace(
        invocation_id="1",
        function_id=function.function_id,
        input_data=[SimpleNamespace(name=name, data=data, WhichOneof=lambda _group: "data")],
        trigger_metadata=metadata,
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
    answer = await runtime.invocation_request(SimpleNamespace(request=SimpleNamespace(invocation_request=invocation)))
    if answer.result.status != PROTOS.StatusResult.Success:
        raise SystemExit(answer.result.exception.stack_trace)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # its threads would hold up the usual end
