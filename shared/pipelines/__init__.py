"""The endpoints that start a run: `target` says where, `base` is what the flow needs of one.

`published` has the v1 API, `wire` its texts; `batch` and `component` are the kinds of v2, `jobs` is what both read. All
send by `calls`; `endpoints` keeps a client for each, `address` and `clouds` know where it is.

Never decides whether to start a run, and never repeats a submission whose outcome is not known.
"""
