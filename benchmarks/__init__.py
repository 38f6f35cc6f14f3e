"""What `./retrain bench` measures: the app's own ways (`retrain_trigger/`), and what people would use instead.

    bare/           the same two triggers with only azure-functions, azure-storage-blob, azure-identity and requests
    pipeline_core/  the same with azureml-pipeline-core (Python 3.11 at most)
    ai_ml/          the same with azure-ai-ml: batch endpoints, which it knows in place of pipeline endpoints
    shortest/       an arrival's four calls through the storage SDKs, and nothing else
    raw/            the same four calls as signed requests: the floor

Each is written as its packages' documentation does it, and has its packages pinned. None of them claims an arrival but
the last two: the others start a run for each delivery. Never deployed.
"""
