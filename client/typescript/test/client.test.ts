import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, linksOf, type Job } from "../dist/index.js";
import { answer, serve } from "./server.js";

const track = (number: number): Job => ({ status: "completed", track_id: `t${number}` });

async function all(found: AsyncIterable<Job>): Promise<string[]> {
  const ids: string[] = [];
  for await (const job of found) ids.push(job.track_id);
  return ids;
}

test("lists are read page by page, and no page more than is wanted", async (context) => {
  const asked: URLSearchParams[] = [];
  const url = await serve(context, ({ request, response }) => {
    const query = new URL(request.url ?? "", "http://localhost").searchParams;
    asked.push(query);
    const first = Number(query.get("cursor") ?? 0);
    const jobs = Array.from({ length: Number(query.get("limit")) }, (_, index) => track(first + index));
    const left = jobs.slice(0, 250 - first);
    answer(response, 200, { jobs: left, next_cursor: first + left.length < 250 ? String(first + left.length) : null });
  });
  const client = new Client({ url });
  const filters = { phase: ["Queued" as const, "Failed" as const], metadata: { order: 7 }, since: 1.5, all: true };
  const ids = await all(client.jobs(filters));
  assert.deepEqual([ids.length, new Set(ids).size], [250, 250]);
  assert.deepEqual(asked.map((query) => [query.get("limit"), query.get("cursor")]), [
    ["100", null],
    ["100", "100"],
    ["100", "200"],
  ]);
  for (const query of asked) {
    assert.deepEqual(query.getAll("phase"), ["Queued", "Failed"]);
    assert.deepEqual([query.get("metadata"), query.get("since"), query.get("all")], ['{"order":7}', "1.5", "true"]);
  }
  asked.length = 0;
  assert.equal((await all(client.jobs({}, 130))).length, 130);
  assert.deepEqual(asked.map((query) => query.get("limit")), ["100", "30"]);
  asked.length = 0;
  for await (const _ of client.jobs()) break;
  assert.equal(asked.length, 1);
});

test("a source is taken for what it is", async (context) => {
  const bodies: unknown[] = [];
  const url = await serve(context, ({ request, response, body }) => {
    if (request.method === "PUT") return answer(response, 412, "");
    if (request.url === "/uploads") {
      const slot = { upload_id: "u1", url: `http://${request.headers.host}/o`, headers: {}, expires_at: 1 };
      return answer(response, 200, slot);
    }
    bodies.push(JSON.parse(body.toString()));
    answer(response, 202, { status: "processing", track_id: "t1" });
  });
  const client = new Client({ url });
  const file = new File(["ID3"], "song.mp3");
  const sources = ["Song", "HTTPS://host/a.mp3", { query: "https://no-link" }, { uploadId: "u2" }, { object: "a/b" }, file, { file }];
  for (const source of sources) await client.separate(source);
  assert.deepEqual(bodies, [
    { search_query: "Song" },
    { url: "HTTPS://host/a.mp3" },
    { search_query: "https://no-link" },
    { upload_id: "u2" },
    { object: "a/b" },
    { upload_id: "u1" },
    { upload_id: "u1" },
  ]);
});

test("a test of a webhook that was not sent yet has no delivery", async (context) => {
  const url = await serve(context, ({ response }) => answer(response, 202, "null"));
  assert.equal(await new Client({ url }).testWebhook({ track_id: "t1" }), undefined);
});

test("links are those of stems", () => {
  const result = { vocals_url: "http://a/v", drums_url: null, track_id: "t1" } as unknown as NonNullable<Job["result"]>;
  assert.deepEqual(linksOf({ ...track(1), result }), { vocals: "http://a/v" });
  assert.deepEqual(linksOf(track(1)), {});
});
