"""The triggers, one file a kind: each waits for its events and has the worker run the function.

Never aware of each other: blob scan and Event Grid webhook only meet in the queue that `blob` reads.
"""
