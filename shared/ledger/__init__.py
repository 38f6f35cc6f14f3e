"""The ledger: one table with a row for each retrain request, from its claim to its end. It is also the queue of work.

`entries` has the states, drawn, and what a row looks like; `table` claims and changes rows; `gate` counts what a
limited rule lets in; `folders`, `watch` and `learned` keep what else the app has to remember.

Never talks to the pipeline's endpoint, and never decides what to do next: `flow/` does.
"""
