"""The storage accounts: `connection` says what is wrong with one, `accounts` makes clients, `datastores` looks into
containers.

Never reads training data, and never decides anything about what it sees.
"""
