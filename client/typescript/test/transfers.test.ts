import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { stemName } from "../dist/names.js";
import { Client, openFile, save, StemyardError, TransferError, type Separation } from "../dist/node.js";
import { answer, serve, type Exchange } from "./server.js";

const STEM = randomBytes(300_000);

async function folder(context: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "stemyard-"));
  context.after(() => rm(path, { recursive: true }));
  return path;
}

/** A server of one completed track, whose stem is served by `serveStem`. */
async function completed(context: TestContext, serveStem: (exchange: Exchange) => void, path = "/o/v.mp3"): Promise<Separation> {
  const url = await serve(context, (exchange) => {
    if (exchange.request.url !== "/job/t1") return serveStem(exchange);
    const link = `http://${exchange.request.headers.host}${path}?signature=1`;
    answer(exchange.response, 200, { status: "completed", track_id: "t1", title: "Song", result: { vocals_url: link, track_id: "t1" } });
  });
  return await new Client({ url, key: "k" }).separation("t1");
}

function whole({ request, response }: Exchange): void {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const headers = { "Content-Range": `bytes ${start}-${STEM.length - 1}/${STEM.length}`, "Content-Length": STEM.length - start };
  response.writeHead(start ? 206 : 200, headers);
  response.end(STEM.subarray(start));
}

test("a download goes on where its connection broke, in memory and in a file", async (context) => {
  const ranges: (string | undefined)[] = [];
  let broken = 0;
  const separation = await completed(context, (exchange) => {
    assert.equal(exchange.request.headers["x-api-key"], undefined);
    ranges.push(exchange.request.headers.range);
    if (broken++ % 2) return whole(exchange);
    exchange.response.writeHead(200, { "Content-Length": STEM.length });
    exchange.response.write(STEM.subarray(0, 100_000));
    return void setTimeout(() => exchange.response.destroy(), 50);
  });
  const { vocals } = await separation.download();
  assert.equal(vocals?.name, "Song (Vocals).mp3");
  assert(STEM.equals(Buffer.from(await vocals.arrayBuffer())));
  const target = await folder(context);
  const paths = await save(separation, target);
  assert.deepEqual(paths, { vocals: join(target, "Song (Vocals).mp3") });
  assert(STEM.equals(await readFile(join(target, "Song (Vocals).mp3"))));
  assert.deepEqual(await readdir(target), ["Song (Vocals).mp3"]);
  assert.deepEqual(ranges, [undefined, "bytes=100000-", undefined, "bytes=100000-"]);
});

test("a file that appears during a download is not replaced", async (context) => {
  const target = await folder(context);
  const path = join(target, "Song (Vocals).mp3");
  const separation = await completed(context, whole);
  const begun = save(separation, target, { onBytes: () => writeFileSync(path, "mine") });
  await assert.rejects(begun, /exists and is another file/);
  assert.equal(await readFile(path, "utf8"), "mine");
});

const MD5 = `"${createHash("md5").update(STEM).digest("hex")}"`;

test("a file with the same content is kept, and another is not replaced unasked", async (context) => {
  for (const tag of [MD5, '"of-another-kind-2"']) {
    const target = await folder(context);
    const separation = await completed(context, (exchange) => {
      exchange.response.setHeader("ETag", tag);
      whole(exchange);
    });
    const { vocals = "" } = await save(separation, target);
    const seen: number[] = [];
    await save(separation, target, { onBytes: (done) => seen.push(done) });
    assert.equal(seen.length === 0, tag === MD5);
    for (const other of [Buffer.from("mine"), Buffer.from(STEM).reverse()]) {
      await writeFile(vocals, other);
      await assert.rejects(save(separation, target), /exists and is another file/);
      assert(other.equals(await readFile(vocals)));
    }
    await save(separation, target, { overwrite: true });
    assert(STEM.equals(await readFile(vocals)));
    await assert.rejects(separation.download({ stems: ["drums"] }), /no stem drums; it has vocals/);
  }
});

test("what a store refuses is an error", async (context) => {
  for (const [status, retryable] of [[404, false], [403, false], [500, true]] as const) {
    const url = (await completed(context, ({ response }) => answer(response, status, "<Error/>"))).links["vocals"];
    const job = { status: "completed", track_id: "t1", result: { vocals_url: url } };
    const once = new Client({
      url: await serve(context, ({ response }) => answer(response, 200, job)),
      retries: { attempts: 1 },
    });
    await assert.rejects(once.download("t1"), (error: unknown) => {
      assert(error instanceof TransferError);
      assert.equal(error.retryable, retryable);
      return true;
    });
  }
});

test("no server chooses another name than that of a stem", async (context) => {
  for (const path of ["/o/v.mp3/../../../x", "/o/v.%2e%2e%2fx", `/o/v.${"a".repeat(300)}`, "/o/v."]) {
    const separation = await completed(context, whole, path);
    await assert.rejects(save(separation, await folder(context)), /names a stem/);
  }
});

test("files are called after song and stem, as by the Python client", () => {
  const cases: [string | undefined, string | undefined, string, string][] = [
    ["Song", undefined, "vocals", "Song (Vocals).mp3"],
    ["Song", "Artist", "vocals", "Artist - Song (Vocals).mp3"],
    ["artist: Song", "Artist", "lead-vocals", "artist Song (Lead-Vocals).mp3"],
    ["../../.bashrc\u001b[2J", undefined, "vocals", "bashrc [2J (Vocals).mp3"],
    ["a\u202e\u00a0b  c", undefined, "vocals", "a b c (Vocals).mp3"],
    ["\u0645\u06cc\u200c\u0631\u0648\u0645", undefined, "vocals", "\u0645\u06cc\u200c\u0631\u0648\u0645 (Vocals).mp3"],
    ["\u200ca\u200d b\u200c", undefined, "vocals", "a b (Vocals).mp3"],
    ["Stra\u00dfe", "STRASSE", "vocals", "Stra\u00dfe (Vocals).mp3"],
    ["x".repeat(79) + " . y", undefined, "other", `${"x".repeat(79)} (Other).mp3`],
    ["???", undefined, "vocals", "track (Vocals).mp3"],
    [undefined, "Artist", "vocals", "t1 (Vocals).mp3"],
  ];
  for (const [title, artist, stem, name] of cases) assert.equal(stemName(title, artist, "t1", stem, "mp3"), name);
});

const LARGE = randomBytes((16 << 20) + 5);
const PART = 8 << 20;
const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

/** A server that takes uploads in parts; the first PUT of each part is answered with `first`. */
async function uploads(context: TestContext, received: { number: number; sha256: string }[], puts: number[], first = 200): Promise<Client> {
  const url = await serve(context, ({ request, response, body }) => {
    const host = `http://${request.headers.host}`;
    if (request.method === "PUT") {
      const number = Number(request.url?.slice(1));
      puts.push(number);
      assert.equal(request.headers["x-amz-checksum-sha256"], sha256(body));
      assert.equal(request.headers["x-api-key"], undefined);
      return answer(response, puts.filter((one) => one === number).length === 1 ? first : 200, "");
    }
    if (request.url === "/uploads/u1/parts") {
      const [part] = JSON.parse(body.toString()).parts;
      const headers = { "x-amz-checksum-sha256": part.sha256, "Content-Length": "7", Host: "elsewhere" };
      return answer(response, 200, { parts: [{ number: part.number, url: `${host}/${part.number}`, headers }] });
    }
    if (request.url === "/uploads/u1/complete") return answer(response, 200, { upload_id: "u1", size: LARGE.length });
    if (request.url === "/uploads/gone") return answer(response, 404, { code: "UPLOAD_NOT_FOUND" });
    answer(response, 200, { upload_id: "u1", size: LARGE.length, parts: 3, part_bytes: PART, complete: false, received });
  });
  return new Client({ url, key: "k" });
}

test("a large file goes in parts, and those that are there are not sent again", async (context) => {
  const path = join(await folder(context), "large.wav");
  await writeFile(path, LARGE);
  const puts: number[] = [];
  const begun: string[] = [];
  const progress: number[] = [];
  const received: { number: number; sha256: string }[] = [];
  const client = await uploads(context, received, puts, 503);
  const options = { onBegin: (id: string) => void begun.push(id), onBytes: (done: number) => void progress.push(done) };
  assert.equal(await client.upload(await openFile(path), options), "u1");
  assert.deepEqual([puts, begun, progress], [[1, 1, 2, 2, 3, 3], ["u1"], [PART, 2 * PART, LARGE.length]]);
  received.push({ number: 1, sha256: sha256(LARGE.subarray(0, PART)) }, { number: 2, sha256: "another" });
  puts.length = 0;
  assert.equal(await client.upload(new File([LARGE], "large.wav"), { uploadId: "u1" }), "u1");
  assert.deepEqual(puts, [2, 2, 3, 3]);
  await assert.rejects(client.upload(new File(["short"], "large.wav"), { uploadId: "u1" }), /another size/);
  await client.upload(await openFile(path), { uploadId: "gone", ...options });
  assert.deepEqual(begun, ["u1", "u1"]);
});

test("an upload that the store refuses is an error", async (context) => {
  const client = await uploads(context, [], [], 403);
  await assert.rejects(client.upload(new File([LARGE], "large.wav")), (error: unknown) => {
    assert(error instanceof TransferError && !error.retryable);
    return true;
  });
});

test("a source is exactly one", async () => {
  const client = new Client({ url: "http://127.0.0.1:9" });
  for (const source of [{}, { query: "a", url: "b" }]) {
    await assert.rejects(client.separate(source as { query: string }), StemyardError);
  }
});
