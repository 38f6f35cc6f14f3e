"""The application itself: what an arrival becomes, and where that is written down.

Read it in this order:

    flow.py       the story: arrive = match, claim, submit, record
    arrival.py    what arrived
    rules.py      which arrivals start what (pure); patterns.py and templates.py are its two little languages,
                  rulecheck.py finds what is wrong with a rule
    settling.py   when a folder is complete (pure)
    ledger.py     what has been claimed, sent and answered; the states are drawn there
    pipelines/    the endpoints of Azure ML that start a run; lookout.py looks for a run there by its key
    calls.py      what a caller may ask for, and is told; outcome.py what became of it, views.py how it is shown
    plan.py       what would be started; check.py whether anything would be
    settings.py   retrain.toml and the app settings, read once; schema.py makes the editors' schema of it
    wiring.py     puts all of it together, once per process
    datastores.py, storage.py, identity.py, errors.py, events.py, durations.py
                  looking into containers, connections, tokens, the error tree, the log, `10m` as a length of time

Never imports `azure.functions` (that is for `functions/`) nor `local/`.
"""
