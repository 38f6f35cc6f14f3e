"""HTTP functions that echo what they were given."""

import json

import azure.functions as func

app = func.FunctionApp()


def _echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route("things/{id:guid?}", methods=["GET", "POST"])
def things(req: func.HttpRequest) -> func.HttpResponse:
    return _echo(req)


@app.route("things/{id:int}/part/{*rest}", methods=["GET"])
async def parts(req: func.HttpRequest) -> func.HttpResponse:
    return _echo(req)


@app.route("things/newest", methods=["GET"])
def newest(req: func.HttpRequest) -> str:
    return "newest"


@app.route("things/{name}", methods=["DELETE"])
def remove(req: func.HttpRequest) -> func.HttpResponse:
    return _echo(req)


@app.route()
def anything(req: func.HttpRequest) -> func.HttpResponse:
    return _echo(req)


@app.route("fails", methods=["GET"])
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("on purpose")


@app.route("fails-async", methods=["GET"])
async def fails_async(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("on purpose, async")


@app.route("answer", methods=["GET"])
def answer(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(b"\x00\xff", status_code=418, mimetype="application/octet-stream")
    response.headers["X-Two"] = "2"
    response.headers.add("Set-Cookie", "a=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax")
    response.headers.add("Set-Cookie", "b=two; Secure; Expires=Thu, 12 Jan 2034 13:55:08 GMT")
    return response
