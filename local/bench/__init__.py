"""`./retrain bench`: what the app costs, beside what people would use instead; `benchmarks/` has the others.

Where to start reading: `command` runs the measures, `measure` says what one is; then one file a measure. `goals` has
what figures are held against. Whatever imports an app runs in a process of its own (`probes/`, `contestant`), in the
environment that it is pinned to.

Never deployed, and never compares figures of two runs: each ratio is of processes that took turns.
"""
