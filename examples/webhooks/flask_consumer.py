"""A webhook consumer with Flask and the Standard Webhooks library: `pip install flask standardwebhooks`."""

import os

from flask import Flask, Response, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = os.environ["WEBHOOK_SECRET"]
webhooks = Webhook(SECRET if SECRET.startswith("whsec_") else SECRET.encode())
handled: set[str] = set()

app = Flask(__name__)


@app.post("/hook")
def hook() -> Response:
    try:
        payload = webhooks.verify(request.get_data(), dict(request.headers))
    except WebhookVerificationError as error:
        return Response(str(error), status=401)
    if request.headers["webhook-id"] not in handled:
        handled.add(request.headers["webhook-id"])
        print(payload["status"], payload["track_id"], flush=True)
    return Response(status=204)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")))
