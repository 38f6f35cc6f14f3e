"""What a person asks for: calls of the webhook, plan, check, redrive, close, backfill, status and views.

Never decides anything by itself, and never sends: what is to be sent goes the way of `flow/`.
"""
