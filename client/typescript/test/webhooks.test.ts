import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { SecretError, VerificationError, verify } from "../dist/index.js";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER = "whsec_" + Buffer.from("another secret of 32 characters!").toString("base64");
const NOW = 1_767_323_100;
const BODY = '{"status": "failed", "track_id": "t1", "error": "M\u00eal\u00e9e", "progress": 0, "created_at": 1.0}';

function sign(secret: string, id = "m1", timestamp = NOW, body = BODY): string {
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
  return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}

function headers(signature: string, timestamp = String(NOW)): Record<string, string> {
  return { "Webhook-Id": "m1", "webhook-timestamp": timestamp, "webhook-signature": signature, "X-Webhook-Event": "separation.failed" };
}

async function code(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(() => undefined, (found: unknown) => found);
  assert(error instanceof VerificationError, String(error));
  assert.equal(error.retryable, false);
  return error.code;
}

test("the published example of Standard Webhooks verifies", async () => {
  const given = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  const found = await verify('{"test": 2432232314}', given, SECRET, { now: 1_614_265_330 });
  assert.equal(found.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
});

test("a webhook is verified in whatever form it comes", async () => {
  const found = await verify(BODY, headers(sign(SECRET)), SECRET, { now: NOW });
  assert.deepEqual(found, { id: "m1", event: "separation.failed", sentAt: NOW, payload: JSON.parse(BODY) });
  const bytes = new TextEncoder().encode(BODY);
  await verify(bytes, new Headers(headers(sign(SECRET))), SECRET, { now: NOW });
  await verify(Buffer.from(bytes), headers(sign("a plain sécret")), "a plain sécret", { now: NOW });
});

test("while a secret is rotated, either signature and either secret verifies", async () => {
  const both = `${sign(OTHER)} v1a,bm90IG91cnM= ${sign(SECRET)}`;
  await verify(BODY, headers(both), SECRET, { now: NOW });
  await verify(BODY, headers(both), OTHER, { now: NOW });
  await verify(BODY, headers(sign(SECRET)), [OTHER, SECRET], { now: NOW });
});

test("what is forged is refused", async () => {
  const good = sign(SECRET);
  const forged = [sign(OTHER), sign(SECRET, "m2"), sign(SECRET, "m1", NOW + 1), good.replace("v1,", "v2,"), good.slice(3), good.slice(0, -4), "v1,", "v1,====", "v1,\u00e9"];
  for (const signature of forged) assert.equal(await code(verify(BODY, headers(signature), SECRET, { now: NOW })), "bad_signature");
  assert.equal(await code(verify(BODY + " ", headers(good), SECRET, { now: NOW })), "bad_signature");
  assert.equal(await code(verify(BODY, headers(good), [], { now: NOW })), "bad_signature");
});

test("what is old, early or known is refused", async () => {
  const given = headers(sign(SECRET));
  for (const now of [NOW - 301, NOW + 301, NaN]) {
    assert.equal(await code(verify(BODY, given, SECRET, { now })), "stale_timestamp");
  }
  for (const now of [NOW - 300, NOW + 300]) await verify(BODY, given, SECRET, { now });
  await verify(BODY, given, SECRET, { now: NOW + 900, tolerance: 900 });
  assert.equal(await code(verify(BODY, given, SECRET)), "stale_timestamp");
  assert.equal(await code(verify(BODY, given, SECRET, { now: NOW, seen: async (id) => id === "m1" })), "replayed");
});

test("headers that are missing or malformed are named", async () => {
  const given = headers(sign(SECRET));
  for (const name of ["Webhook-Id", "webhook-timestamp", "webhook-signature"]) {
    assert.equal(await code(verify(BODY, { ...given, [name]: undefined }, SECRET, { now: NOW })), "missing_header");
  }
  for (const timestamp of ["now", "1e9", "-1", "\u0661"]) {
    assert.equal(await code(verify(BODY, headers(sign(SECRET), timestamp), SECRET, { now: NOW })), "missing_header");
  }
});

test("a body that is signed and no JSON is refused", async () => {
  assert.equal(await code(verify("{", headers(sign(SECRET, "m1", NOW, "{")), SECRET, { now: NOW })), "invalid_body");
});

test("a secret that consumers elsewhere could not read is refused", async () => {
  for (const secret of ["", "whsec_", "whsec_AAA", "whsec_AAB=", "whsec_A A=", "whsec_\u00e9AA="]) {
    await assert.rejects(verify(BODY, headers(sign(SECRET)), secret, { now: NOW }), SecretError);
  }
});
