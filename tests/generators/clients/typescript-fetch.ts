// Uses the client that openapi-generator made for TypeScript. Arguments: URL, key, a completed and a failed track.
import assert from "node:assert/strict";
import { Configuration, JobsApi, ResponseError, SeparationsApi, SeparationRequestFormatEnum, Stem } from "./generated/index.js";

const [url, key, completed, failed] = process.argv.slice(2) as [string, string, string, string];
const configuration = new Configuration({ basePath: url, apiKey: key });
const separations = new SeparationsApi(configuration);
const jobs = new JobsApi(configuration);

const separationRequest = {
  searchQuery: "by openapi-generator typescript",
  format: SeparationRequestFormatEnum.Flac,
  stems: [Stem.Vocals],
};
const asked = await separations.createSeparation({ separationRequest });
assert.equal(asked.status, "processing");
const again = await separations.createSeparation({ separationRequest: { searchQuery: "a completed song" } });
assert.deepEqual([again.status, again.trackId], ["completed", completed]);
assert.match(again.result!.vocalsUrl!, /^http/);
assert.equal((await jobs.getJob({ trackId: asked.trackId })).status, "processing");
assert.match((await jobs.getJob({ trackId: completed })).result!.instrumentalUrl!, /^http/);
const ended = await jobs.getJob({ trackId: failed });
assert.deepEqual([ended.status, ended.code], ["failed", "SOURCE_NOT_FOUND"]);
const listed = await jobs.listJobs({ limit: 200 });
assert(listed.jobs.some((job) => job.trackId === completed));
await assert.rejects(
  jobs.getJob({ trackId: "00000000-0000-5000-8000-000000000000" }),
  (error) => error instanceof ResponseError && error.response.status === 404,
);
process.stdout.write(asked.trackId);
