// Uses the packed TypeScript client in each way that it offers. Arguments: URL, key, another key, a wrong one, the
// folder to work in, and a signed webhook (JSON).
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AuthenticationError,
  Client,
  ConflictError,
  ForbiddenError,
  InvalidRequestError,
  NotFoundError,
  openFile,
  save,
  SeparationFailedError,
  StemyardError,
  verify,
  WaitTimeoutError,
  type Job,
} from "stemyard-client/node";

const [url, key, other, reader, folder, signed] = process.argv.slice(2) as [string, string, string, string, string, string];
const client = new Client({ url, key });
const unique = crypto.randomUUID();

async function all(found: AsyncIterable<Job>): Promise<Job[]> {
  const jobs: Job[] = [];
  for await (const job of found) jobs.push(job);
  return jobs;
}

async function thrown<E extends StemyardError>(kind: new (...given: never[]) => E, promise: Promise<unknown>): Promise<E> {
  const error: unknown = await promise.then(() => undefined, (found: unknown) => found);
  assert(error instanceof kind, String(error));
  return error;
}

// a search, its phases, its stems in memory and in files
const separation = await client.separate(`Song ${unique}`, { metadata: { order: 7 } });
assert.equal(separation.job.status, "processing");
const phases: (string | undefined)[] = [];
await separation.wait({ timeoutSeconds: 60, onChange: (job) => phases.push(job.phase) });
assert.equal(phases.at(-1), "Completed");
assert(phases.length > 2, "phases are seen as they come");
assert.deepEqual(separation.job.metadata, { order: 7 });
const files = await separation.download();
assert.deepEqual(Object.keys(files).sort(), ["instrumental", "vocals"]);
const paths = await save(separation, join(folder, "stems"));
for (const [stem, path] of Object.entries(paths)) {
  const link = separation.links[stem];
  assert(link !== undefined);
  const expected = Buffer.from(await (await fetch(link)).arrayBuffer());
  assert(expected.length > 0 && expected.equals(await readFile(path)));
  assert(expected.equals(Buffer.from(await files[stem]!.arrayBuffer())));
  assert(path.endsWith(files[stem]!.name));
}
const again = await client.separate({ query: `Song ${unique}` });
assert.deepEqual([again.job.cached, again.trackId], [true, separation.trackId]);
await again.wait({ timeoutSeconds: 5 });

// uploads: whole, in parts, interrupted and continued
const small = new File([`ID3 ${unique}`], "small.mp3", { type: "audio/mpeg" });
assert.equal((await (await client.separate(small)).wait({ timeoutSeconds: 60 })).job.query, "small");
const content = Buffer.alloc(20 << 20, unique);
await writeFile(join(folder, "large.wav"), content);
const large = await openFile(join(folder, "large.wav"));
const begun: string[] = [];
const stop = new AbortController();
const options = { onBegin: (id: string) => void begun.push(id), onBytes: () => stop.abort(new Error("interrupted")) };
await assert.rejects(client.upload(large, { ...options, signal: stop.signal }), /interrupted/);
const uploadId = begun[0]!;
const progress: number[] = [];
assert.equal(await client.upload(large, { uploadId, onBytes: (done) => progress.push(done) }), uploadId);
assert.equal(progress.at(-1), content.length);
const parts = await client.upload(new File([content], "memory.wav"));
assert.equal((await (await client.separate({ uploadId: parts })).wait({ timeoutSeconds: 60 })).job.query, "memory");

// failures, retries, cancelling, deleting
const failing = await client.separate("zero hits");
const failed = await thrown(SeparationFailedError, failing.wait({ timeoutSeconds: 60 }));
assert.deepEqual([failed.code, failed.retryable], ["SOURCE_NOT_FOUND", false]);
assert.equal((await failing.retry()).job.status, "processing");
await thrown(SeparationFailedError, failing.wait({ timeoutSeconds: 60 }));
await failing.delete();
assert.equal((await thrown(NotFoundError, client.job(failing.trackId))).code, "TRACK_NOT_FOUND");
const late = await client.separate(`Late ${unique}`);
assert((await thrown(WaitTimeoutError, late.wait({ timeoutSeconds: 0.05 }))).retryable);
await late.cancel();
assert.equal((await thrown(SeparationFailedError, late.wait({ timeoutSeconds: 60 }))).code, "CANCELLED");

// idempotency, lists, shares, webhooks, what an installation offers
const idempotencyKey = unique;
const first = await client.separate(`Once ${unique}`, { cache: "refresh" }, { idempotencyKey });
const second = await client.separate(`Once ${unique}`, { cache: "refresh" }, { idempotencyKey });
assert.equal(second.job.created_at, first.job.created_at);
assert.equal((await thrown(StemyardError, client.separate("other", {}, { idempotencyKey }))).code, "IDEMPOTENCY_MISMATCH");
const lister = new Client({ url, key: other });
const tracks = [1, 2, 3, 4, 5].map(async (number) => (await lister.separate(`page ${number} ${unique}`)).trackId);
const expected = (await Promise.all(tracks)).sort();
let listed: string[] = [];
for (let attempt = 0; attempt < 100 && listed.length < expected.length; attempt++) {
  await sleep(100); // the operator lists a track a moment after it was requested
  listed = (await all(lister.jobs({ text: `page ${unique}` }))).map((job) => job.track_id);
}
assert.deepEqual(listed.sort(), expected);
assert.equal((await all(lister.jobs({}, 3))).length, 3);
assert.deepEqual(await all(lister.jobs({ created_before: 1, phase: ["Queued", "Failed"], metadata: { a: 1 } })), []);
const share = await separation.share(600);
assert.equal((await fetch(`${url}/share/${share.token}`)).status, 200);
await client.revokeShares(separation.trackId);
assert.equal((await fetch(`${url}/share/${share.token}`)).status, 410);
assert.deepEqual(await separation.candidates(), []);
assert.deepEqual((await client.deliveries(separation.trackId)).deliveries, []);
const webhook = await lister.registerWebhook({ url: `https://example.com/${unique}`, events: ["separation.completed"] });
assert.match(webhook.secret, /^whsec_/);
assert.notEqual((await lister.rotateWebhookSecret(webhook.id, 60)).secret, webhook.secret);
assert.equal((await lister.changeWebhook(webhook.id, { enabled: false })).enabled, false);
assert.deepEqual((await lister.webhooks()).map((one) => one.id), [webhook.id]);
await lister.removeWebhook(webhook.id);
assert.deepEqual(await lister.webhooks(), []);
const { body, headers, secret } = JSON.parse(signed) as { body: string; headers: Record<string, string>; secret: string };
assert.equal((await verify(body, headers, secret)).event, "separation.completed");
assert.equal((await client.capabilities()).key.id, "default");
assert.equal((await client.health()).status, "healthy");
assert((await client.usage()).keys.some((one) => one.key_id === "default" && one.completed > 0));

// errors
const unknown = await thrown(AuthenticationError, new Client({ url, key: "wrong" }).jobs().next());
assert.deepEqual([unknown.code, unknown.status, unknown.retryable], ["UNAUTHENTICATED", 401, false]);
await thrown(ForbiddenError, new Client({ url, key: reader }).separate("a song"));
const invalid = await thrown(InvalidRequestError, client.separate("a song", { bitrate: 7 as 128 }));
assert.deepEqual(Object.keys(invalid.fields), ["bitrate"]);
assert.equal((await thrown(ConflictError, separation.retry())).code, "TRACK_COMPLETED");
process.stdout.write(uploadId); // its bytes are compared; those of the separated ones are deleted
