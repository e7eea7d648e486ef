// A webhook consumer with Express and the Standard Webhooks library: npm ci && WEBHOOK_SECRET=... PORT=8000 node express_consumer.mjs
import express from "express";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const secret = process.env.WEBHOOK_SECRET;
// a secret with the prefix whsec_ is base64; any other is its UTF-8 bytes
const webhooks = secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(new TextEncoder().encode(secret), { format: "raw" });
const handled = new Set(); // in production a table with a unique column

const app = express();

// raw: verify the exact bytes received; parsed and serialised again they may differ
app.post("/hook", express.raw({ type: "application/json" }), (request, response) => {
  let payload;
  try {
    payload = webhooks.verify(request.body.toString("utf8"), request.headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return response.status(401).send(error.message);
  }
  const id = request.headers["webhook-id"];
  if (!handled.has(id)) {
    handled.add(id);
    console.log(payload.status, payload.track_id);
  }
  response.status(204).end();
});

app.listen(Number(process.env.PORT ?? 8000));
