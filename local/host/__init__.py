"""A Functions host for development: runs a Python v2 function app when Core Tools (`func`) is absent.

Where to start reading: `host` puts the parts together, `worker` drives Microsoft's own worker library, `bindings`
turns what the app declares into triggers, `triggers/` has one file a kind. README.md lists what differs from Azure.

Never deployed, never reachable from outside the machine, and never aware of what any particular app does.
"""
