"""The endpoints that start a run: `target` says where, `base` is what the flow needs of one, `published` the v1 API.

Never decides whether to start a run, and never repeats a submission whose outcome is not known.
"""
