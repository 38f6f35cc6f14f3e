"""The application itself: what an arrival becomes, and where that is written down.

Read it in this order:

    flow.py       the story: arrive = match, claim, submit, record
    arrival.py    what arrived
    rules.py      which arrivals start what (pure); patterns.py and templates.py are its two little languages,
                  rulecheck.py finds what is wrong with a rule
    ledger.py     what has been claimed, sent and answered; the states are drawn there
    pipelines/    the endpoints of Azure ML that start a run
    settings.py   retrain.toml and the app settings, read once
    wiring.py     puts all of it together, once per process
    storage.py, identity.py, errors.py, events.py   connections, tokens, the error tree, the log

Never imports `azure.functions` (that is for `functions/`) nor `local/`.
"""
