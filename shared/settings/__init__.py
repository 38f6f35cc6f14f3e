"""The configuration: `model` has its types, `read` fills them in, `places` tells lines, `schema` is for editors.

Never talks to a service, and never fills in a version: a run goes to the version that is written down, or nowhere.
"""
