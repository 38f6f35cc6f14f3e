"""The endpoints that start a run: `base` is what the flow needs of one, `published` the v1 REST API.

Never decides whether to start a run, and never repeats a submission whose outcome is not known.
"""
