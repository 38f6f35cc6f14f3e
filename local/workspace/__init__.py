"""Stands in for the Azure ML workspace's pipeline services on one machine, as Azurite stands in for storage.

Map, in reading order:

    seed.py         what a fresh workspace holds: the endpoint `income` with its two pipeline versions
    catalog.py      published pipelines and pipeline endpoints      runs.py    runs and what was submitted
    state.py        one workspace's state, in memory                tokens.py  the managed identity and its tokens
    submission.py   v1 REST: submitting a run                       pipelines.py  v1 REST: everything else
    history.py      run history REST                                run_filter.py  the filter grammar of runs:query
    entities.py     how the v1 service writes what it answers       errors.py  how it refuses
    engine.py       takes runs to their end                         training.py  the worker process that trains
    controls.py     steering for tests: /_control                   faults.py  misbehaviour on order
    pages.py        the studio-like page                            sample_data.py  synthetic census data
    app.py          puts the routes together                        server.py, __main__.py  serve them on loopback

Written from what is known of the service's wire format and refereed by Microsoft's own SDKs (local/conformance). It
shares no code with the application, so that a misreading cannot hide by being made twice. README.md lists what is
supported, and what differs from Azure.
"""
