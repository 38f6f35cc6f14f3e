"""What the app relies on, asked of a workspace: a real one with LIVE_AZUREML=1, else the stand-in (docs/live-check.md).

place.py      which workspace, from the environment       report.py     the questions, and what was learned
session.py    how it is asked                             recording.py  requests and answers, without names
test_service.py  the questions themselves, in order
"""
