import assert from "node:assert/strict";
import { test } from "node:test";
import { apiError } from "../dist/errors.js";
import {
  AddressError,
  ApiError,
  AuthenticationError,
  Client,
  ConflictError,
  ConnectionFailedError,
  ForbiddenError,
  InvalidAnswerError,
  InvalidRequestError,
  NotFoundError,
  RateLimitedError,
  ServerError,
  StemyardError,
} from "../dist/index.js";
import { pauseAfter, RETRIES } from "../dist/retries.js";
import { answer, serve } from "./server.js";

const JOB = { status: "processing", track_id: "t1" };

function refused(status: number, retryAfter = "", retryable = true): ApiError {
  return apiError(status, new Headers(retryAfter ? { "Retry-After": retryAfter } : {}), JSON.stringify({ retryable }));
}

test("pauses double with jitter, up to the longest, and end", () => {
  const longest = [0.5, 1, 2, 4];
  for (const [index, most] of longest.entries()) {
    const pause = pauseAfter(RETRIES, index + 1);
    assert(pause !== undefined && pause >= most / 2 && pause <= most);
  }
  assert.equal(pauseAfter(RETRIES, 5), undefined);
  assert((pauseAfter({ attempts: 99, longestSeconds: 3 }, 50) ?? 9) <= 3);
});

test("a server says when, and what it asks for beyond the longest is not waited for", () => {
  const pause = pauseAfter(RETRIES, 1, refused(429, "20"));
  assert(pause !== undefined && pause >= 20 && pause <= 24);
  assert.equal(pauseAfter(RETRIES, 1, refused(429, "61")), undefined);
  assert.notEqual(pauseAfter(RETRIES, 1, refused(429, "Mon, 30 Nov 2026 00:00:00 GMT")), undefined);
});

test("only what may pass is repeated", () => {
  for (const status of [408, 429, 502, 503, 504]) assert.notEqual(pauseAfter(RETRIES, 1, refused(status)), undefined);
  for (const status of [400, 401, 404, 409, 422, 500]) assert.equal(pauseAfter(RETRIES, 1, refused(status)), undefined);
  assert.equal(pauseAfter(RETRIES, 1, refused(503, "", false)), undefined);
  assert.notEqual(pauseAfter(RETRIES, 1, refused(409, "2")), undefined);
});

test("errors are of their kinds", () => {
  const kinds = new Map<number, unknown>([
    [401, AuthenticationError],
    [403, ForbiddenError],
    [404, NotFoundError],
    [409, ConflictError],
    [410, NotFoundError],
    [422, InvalidRequestError],
    [429, RateLimitedError],
    [500, ServerError],
    [301, InvalidRequestError],
  ]);
  for (const [status, kind] of kinds) assert.equal(refused(status).constructor, kind);
  const body = { code: "INVALID_REQUEST", detail: "No.", retryable: false, request_id: "r1", errors: [{ field: "a", message: "b" }, 5] };
  const error = apiError(422, new Headers(), JSON.stringify(body));
  assert(error instanceof StemyardError);
  assert.deepEqual(
    [error.name, error.code, error.message, error.retryable, error.requestId, error.fields],
    ["InvalidRequestError", "INVALID_REQUEST", "No.", false, "r1", { a: "b" }],
  );
  for (const text of ["<html>", "", "null", "[]", "{}", "[".repeat(100_000)]) {
    assert.match(apiError(503, new Headers(), text).message, /not as Stemyard does/);
    assert.equal(apiError(503, new Headers(), text).retryable, true);
  }
});

test("a request is repeated with the same Idempotency-Key", async (context) => {
  const keys: unknown[] = [];
  const url = await serve(context, ({ request, response, body }) => {
    keys.push([request.headers["idempotency-key"], request.headers["x-api-key"], JSON.parse(body.toString())]);
    if (keys.length === 1) return void response.destroy();
    if (keys.length === 2) return answer(response, 503, { retryable: true }, { "Retry-After": "0" });
    return answer(response, 202, JOB);
  });
  const separation = await new Client({ url, key: "k" }).separate("a song", { format: "flac" });
  assert.equal(separation.trackId, "t1");
  assert.equal(keys.length, 3);
  assert.deepEqual(keys[0], keys[1]);
  assert.deepEqual(keys[0], keys[2]);
  const [[key, ...rest]] = keys as [[string, ...unknown[]]];
  assert.match(key, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, ["k", { search_query: "a song", format: "flac" }]);
});

test("the key goes to no other server, and a redirection is an error", async (context) => {
  const seen: unknown[] = [];
  const other = await serve(context, ({ request, response }) => {
    seen.push(request.headers["x-api-key"]);
    answer(response, 200, JOB);
  });
  const url = await serve(context, ({ response }) => answer(response, 307, "", { Location: `${other}/job/t1` }));
  await assert.rejects(new Client({ url, key: "k" }).job("t1"), InvalidRequestError);
  assert.deepEqual(seen, []);
});

test("what is no answer of Stemyard's is an error", async (context) => {
  let body = "";
  const url = await serve(context, ({ response }) => answer(response, 200, body));
  const client = new Client({ url, key: "k" });
  for (body of ["<html>", "", "null", "[]", "{}", '{"status": "new", "track_id": "t1"}', " ".repeat((32 << 20) + 1)]) {
    await assert.rejects(client.job("t1"), InvalidAnswerError);
  }
  body = JSON.stringify(JOB);
  assert.deepEqual(await client.job("t1"), JOB);
});

test("silence and a caller's signal end a request", async (context) => {
  let asked = 0;
  const url = await serve(context, () => void asked++);
  const stop = new AbortController();
  const waiting = new Client({ url }).job("t1", stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  await assert.rejects(new Client({ url }).job("t1", AbortSignal.abort(new Error("before"))), /before/);
  assert(asked <= 1);
});

test("nobody at the other end is an error after the attempts", async () => {
  const client = new Client({ url: "http://127.0.0.1:9", retries: { attempts: 2 } });
  await assert.rejects(client.health(), (error: unknown) => {
    assert(error instanceof ConnectionFailedError);
    assert.deepEqual([error.code, error.retryable], ["connection_failed", true]);
    assert.match(error.message, /^The API could not be reached: .+\.$/);
    return true;
  });
});

test("addresses and keys are checked at once", () => {
  for (const url of ["", "stems.example.org", "ftp://a", "http://", "http:///x"]) {
    assert.throws(() => new Client({ url }), AddressError);
  }
  for (const key of ["", " ", "ké", "a\nb"]) assert.throws(() => new Client({ url: "http://a", key }), AddressError);
});
