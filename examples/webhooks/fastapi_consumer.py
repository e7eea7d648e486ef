"""A consumer of webhooks with FastAPI: `WEBHOOK_SECRET=... PORT=8000 python fastapi_consumer.py`."""

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from stemyard_contract.webhook import ReplayError, VerificationError, verify

SECRET = os.environ["WEBHOOK_SECRET"]
# in production a table with a unique column: retries may arrive days later, and at any replica
handled: set[str] = set()

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
    print(webhook.payload["track_id"], summary(webhook.payload), flush=True)
    handled.add(webhook.id)
    return Response(status_code=204)


def summary(payload: dict[str, Any]) -> str:
    """Return what a webhook says; events and stems that are added later are no error."""
    if payload["status"] == "completed":
        links = {name: url for name, url in payload["result"].items() if name.endswith("_url")}
        return "completed: " + ", ".join(f"{name} {url.partition('?')[0]}" for name, url in links.items())
    if payload["status"] == "failed":
        return f"failed: {payload['error']}"
    return f"{payload['status']}: {payload['progress']} %"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
