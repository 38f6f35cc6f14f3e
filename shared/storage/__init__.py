"""The storage accounts: `accounts` makes clients from connections, `datastores` looks into containers.

Never reads training data, and never decides anything about what it sees.
"""
