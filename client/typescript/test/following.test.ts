import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, SeparationFailedError, WaitTimeoutError, type Job } from "../dist/index.js";
import { answer, serve } from "./server.js";

const event = (name: string, data: unknown, id = ""): string =>
  `retry: 1\n${id && `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const SNAPSHOT = { status: "processing", track_id: "t1", phase: "Separating", progress: 10 };
const END = { status: "completed", track_id: "t1", phase: "Completed", progress: 100 };

async function all(found: AsyncIterable<Job>): Promise<Job[]> {
  const jobs: Job[] = [];
  for await (const job of found) jobs.push(job);
  return jobs;
}

test("a stream is resumed where it broke off, and left at its end", async (context) => {
  const asked: unknown[] = [];
  const url = await serve(context, ({ request, response }) => {
    asked.push([request.url, request.headers["last-event-id"], request.headers.accept]);
    response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
    if (asked.length === 1) {
      response.write(event("snapshot", SNAPSHOT, "1-0"));
      response.write(event("progress", { progress: 40, strange: 1 }, "2-0") + "event: progress\ndata: {half");
      return void setTimeout(() => response.destroy(), 50);
    }
    response.write(": beat\n\n" + event("later", {}) + event("end", END, "end-1")); // and left open
  });
  const jobs = await all(new Client({ url }).follow("t1"));
  assert.deepEqual(jobs, [SNAPSHOT, { ...SNAPSHOT, progress: 40 }, END]);
  assert.deepEqual(asked, [
    ["/job/t1/events", undefined, "text/event-stream"],
    ["/job/t1/events", "2-0", "text/event-stream"],
  ]);
});

test("a new phase brings what the event lacks", async (context) => {
  const url = await serve(context, ({ request, response }) => {
    if (request.url === "/job/t1") return answer(response, 200, { ...SNAPSHOT, title: "Song" });
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(event("snapshot", { ...SNAPSHOT, phase: "Queued" }) + event("phase", { phase: "Separating" }) + event("end", END));
  });
  const phases = (await all(new Client({ url }).follow("t1"))).map((job) => [job.phase, job.title]);
  assert.deepEqual(phases, [
    ["Queued", undefined],
    ["Separating", "Song"],
    ["Completed", undefined],
  ]);
});

test("a stream of something else is given up for polling", async (context) => {
  for (const data of ["[]", "5", '{"status": "new"}', "[".repeat(100_000)]) {
    let polled = 0;
    const url = await serve(context, ({ request, response }) => {
      if (request.url !== "/job/t1/events") return answer(response, 200, polled++ ? END : SNAPSHOT);
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.end(`retry: 1\nevent: snapshot\ndata: ${data}\n\n`);
    });
    assert.deepEqual(await all(new Client({ url }).follow("t1")), [SNAPSHOT, END]);
  }
});

test("a track that is deleted while it is followed ends as deleted", async (context) => {
  const url = await serve(context, ({ request, response }) => {
    if (request.url === "/job/t1") return answer(response, 404, { code: "TRACK_NOT_FOUND" });
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(event("snapshot", SNAPSHOT) + event("phase", { phase: "Separating" }));
  });
  const separation = await separationOf(url);
  await assert.rejects(separation.wait(), (error: unknown) => {
    assert(error instanceof SeparationFailedError);
    assert.deepEqual([error.code, error.retryable, error.job.status], ["deleted", false, "deleted"]);
    return true;
  });
});

test("a wait ends in time, and when its signal says so", async (context) => {
  const url = await serve(context, ({ request, response }) => {
    if (request.url === "/job/t1") return answer(response, 200, SNAPSHOT);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(event("snapshot", SNAPSHOT));
    const beats = setInterval(() => response.write(": beat\n\n"), 20);
    response.on("close", () => clearInterval(beats));
  });
  const client = new Client({ url });
  await assert.rejects(all(client.follow("t1", { timeoutSeconds: 0.2 })), WaitTimeoutError);
  const stop = new AbortController();
  const following = client.follow("t1", { signal: stop.signal });
  assert.equal((await following.next()).value?.progress, 10);
  stop.abort(new Error("enough"));
  await assert.rejects(following.next(), /enough/);
});

async function separationOf(url: string) {
  const { Separation } = await import("../dist/index.js");
  return new Separation(new Client({ url }), SNAPSHOT as Job);
}
