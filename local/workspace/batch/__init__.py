"""Batch endpoints beside pipeline endpoints: pipeline component deployments, with the same training behind.

The data plane (invocation, an endpoint's jobs) and what of ARM the SDK and a client of it need. A job is a run like the
others: same engine, same faults, same controls. Never serves what the wire notes and the SDK do not show: that is 501.
"""
