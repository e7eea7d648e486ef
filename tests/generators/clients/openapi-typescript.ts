// Uses the types that openapi-typescript made, with openapi-fetch. Arguments: URL, key, a completed and a failed track.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./generated/schema.js";

const [url, key, completed, failed] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { "X-API-Key": key } });
const state = async (track_id: string) => client.GET("/job/{track_id}", { params: { path: { track_id } } });

const asked = await client.POST("/separate-audio", {
  body: { search_query: "by openapi-typescript", format: "flac", stems: ["vocals"] },
});
assert.equal(asked.data?.status, "processing");
const track = asked.data!.track_id;
const again = await client.POST("/separate-audio", { body: { search_query: "a completed song" } });
assert.deepEqual([again.data?.status, again.data?.track_id], ["completed", completed]);
assert.match(again.data!.result!.vocals_url!, /^http/);
assert.equal((await state(track)).data?.status, "processing");
assert.match((await state(completed)).data!.result!.instrumental_url!, /^http/);
const ended = (await state(failed)).data;
assert.deepEqual([ended?.status, ended?.code], ["failed", "SOURCE_NOT_FOUND"]);
const listed = await client.GET("/jobs", { params: { query: { limit: 200 } } });
assert(listed.data?.jobs.some((job) => job.track_id === completed));
const unknown = await state("00000000-0000-5000-8000-000000000000");
assert.equal(unknown.error?.code, "TRACK_NOT_FOUND");
process.stdout.write(track);
