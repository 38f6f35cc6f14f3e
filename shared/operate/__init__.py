"""What a person asks for: calls and events of the webhook, plan, why, redrive, close, status, health and views.

`check` holds the configuration against workspace and storage (`compared`, `findings`), `doctor` looks at the chain
of a deployed app (`hosted`, `subscribed`, `waiting`, `followed`), `migrate` tells how a pipeline moves.

Never decides anything by itself, and never sends: what is to be sent goes the way of `flow/`.
"""
