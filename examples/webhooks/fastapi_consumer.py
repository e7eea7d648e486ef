"""A consumer of webhooks with FastAPI: `WEBHOOK_SECRET=... PORT=8000 python fastapi_consumer.py`."""

import os

import uvicorn
from fastapi import FastAPI, Request, Response

from stemyard_contract.webhook import ReplayError, VerificationError, verify

SECRET = os.environ["WEBHOOK_SECRET"]
handled: set[str] = (
    set()
)  # in production a table with a unique column: retries may arrive days later, and at any replica

app = FastAPI()


@app.post("/hook")
async def hook(request: Request) -> Response:
    body = await request.body()  # the exact bytes received; parsed and serialised again they may differ
    try:
        webhook = verify(body, request.headers, SECRET, seen=handled.__contains__)
    except ReplayError:
        return Response(status_code=200)
    except VerificationError as error:
        return Response(str(error), status_code=401)
    if webhook.payload["status"] == "completed":
        print("vocals:", webhook.payload["result"]["vocals_url"].partition("?")[0], flush=True)
    else:
        print("failed:", webhook.payload["error"], flush=True)
    handled.add(webhook.id)
    return Response(status_code=204)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
