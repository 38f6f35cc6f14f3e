"""Development only, never deployed: what stands in for the cloud on one machine.

`process` and `azurite` start children; `workspace` stands in for the Azure ML workspace; `host` runs the function
app when Core Tools is absent; `stack`, `demo` and `__main__` are the commands of `./retrain` that use them.
Nothing here is imported by `functions/`, `shared/` or `cli/`, and nothing here imports those.
"""
