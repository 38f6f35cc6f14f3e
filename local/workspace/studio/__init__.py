"""The pages that people open: the way through the studio that the retraining article takes, on one machine.

Pipeline endpoints, one with its published pipelines, a version with its parameters, Submit; runs with their metrics and
pictures; a new version with changed defaults. Submits and publishes through the code that serves the REST API. No
script; forms ask for no token, and are refused from other sites (`local/loopback.py`). Never looks like Azure's own.
"""
