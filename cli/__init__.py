"""The operator's commands, `./retrain history` and the like: a person's way to what `shared/` knows.

Imports `shared/` only, works on the ledger and the endpoint directly, and needs no function app to be running. Never
prints a token or a key.
"""
