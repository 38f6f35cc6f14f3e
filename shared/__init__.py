"""The application itself: what an arrival becomes, and where that is written down.

A room is a folder with one concern, and the rooms stand on floors: each imports only from floors below its own
(tests/test_imports.py). From the top, which is also the order to read in, with `flow/arrive.py` first:

    7  operate/      what a person asks for: calls, plan, check, doctor, why, redrive, status, health, migrate
    6  flow/         what happens by itself: arrive, enter, send, reconcile, track, folders, search, tick
    5  app           puts the parts together, once a process
    4  ledger/       the table: states, claims and changes, and what else is remembered
       settings/     retrain.toml and the app settings, all faults at once
       deployed/     what Resource Manager tells of a deployed app; for `doctor` only
       notices       what a message to people says
    3  pipelines/    endpoints that start runs: published pipelines, batch endpoints, component jobs
       storage/      accounts and datastores: look and list, never read training data
       metrics       numbers, where they are wanted
    2  rules/        which arrivals start what; pure
       identity, log bearer tokens; one line an event
    1  errors, reading   a tree by what the caller does next; JSON and values as types

Never imports `azure.functions` (that is for `functions/`) nor `local/`.
"""
