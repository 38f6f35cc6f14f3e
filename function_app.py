"""The function app: registers the blueprints, and does nothing else. Never fails on a service that is not there."""

import gc

gc.disable()  # what is loaded stays: looking for garbage among it meanwhile takes a tenth of a cold start
try:
    import azure.functions as func

    from functions import blueprints

    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
    for blueprint in blueprints():
        app.register_functions(blueprint)
finally:
    gc.freeze()  # nor is it looked through later on
    gc.enable()
