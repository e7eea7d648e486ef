/** The client. */

import { download, Memory, type DownloadOptions, type Stem } from "./downloads.js";
import { SeparationFailedError, StemyardError } from "./errors.js";
import { Follower, jobOf, jobPath, readJob, type FollowOptions } from "./following.js";
import { Caller, parsed, RETRIES, type Retries } from "./retries.js";
import { Transport, type Request } from "./transport.js";
import * as types from "./types.js";
import type { Job } from "./types.js";
import { upload, type Source, type UploadOptions } from "./uploads.js";

/** The API waits 25 seconds for the consumer's answer. */
const WEBHOOK_TEST_SECONDS = 40;
const PAGE = 100;

/** Where the API is, and how it is asked. */
export interface ClientOptions {
  /** Address of the API, such as `https://stems.example.org`. */
  url: string;
  /** The API key; none for what needs none. */
  key?: string | undefined;
  /** How requests are repeated after errors that may pass. */
  retries?: Partial<Retries>;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
}

/** What is to be separated: words to search by, a link, a file, what `upload` returned, or an object of the bucket. */
export type SourceOfSeparation =
  | { query: string }
  | { url: string }
  | { file: Source }
  | { uploadId: string }
  | { object: string };

/** How a separation is requested. */
export interface SeparateOptions {
  /** The same for each repetition of this request by you; repetitions by this client have one. */
  idempotencyKey?: string;
  /** Of the upload of a file. */
  upload?: Omit<UploadOptions, "signal">;
  signal?: AbortSignal;
}

/** How to wait. */
export interface WaitOptions extends FollowOptions {
  /** Called with each change. */
  onChange?: (job: Job) => void;
}

/** A connection to one installation. Throws an AddressError if URL or key are invalid. */
export class Client {
  readonly #caller: Caller;

  constructor(options: ClientOptions) {
    const transport = new Transport(options.url, options.key, options.fetch);
    this.#caller = new Caller(transport, { ...RETRIES, ...options.retries });
  }

  /**
   * Requests a separation; the result may exist already.
   *
   * A text that begins with http:// or https:// is a link; another is a search; a File is uploaded.
   */
  async separate(
    source: string | Source | SourceOfSeparation,
    options: types.Options = {},
    request: SeparateOptions = {},
  ): Promise<Separation> {
    const { signal } = request;
    const json = { ...options, ...(await this.#fields(named(source), request)) };
    const headers = { "Idempotency-Key": request.idempotencyKey ?? randomKey() };
    const job = await jobOf(this.#caller, { method: "POST", url: "/separate-audio", headers, json, signal });
    return new Separation(this, job);
  }

  /** Returns a separation by its id, with its current state. */
  async separation(trackId: string): Promise<Separation> {
    return new Separation(this, await this.job(trackId));
  }

  /** Returns the state of a track. */
  async job(trackId: string, signal?: AbortSignal): Promise<Job> {
    return await readJob(this.#caller, trackId, signal);
  }

  /** Yields tracks, newest first, page by page; `most` limits their number. */
  async *jobs(filters: types.Filters = {}, most = Infinity): AsyncGenerator<Job, void> {
    const query = parameters(filters);
    for (let left = most; left > 0; ) {
      query.set("limit", String(Math.min(left, PAGE)));
      const page = await this.#call<{ jobs: Job[]; next_cursor?: string | null }>("GET", "/jobs", { query }, "jobs");
      yield* page.jobs;
      left -= page.jobs.length;
      if (!page.next_cursor) return;
      query.set("cursor", page.next_cursor);
    }
  }

  /**
   * Yields each change of a track; the last has ended.
   *
   * Throws a WaitTimeoutError if it has not ended in time.
   */
  follow(trackId: string, options: FollowOptions = {}): AsyncGenerator<Job, void> {
    return new Follower(this.#caller, trackId, options).run();
  }

  /** Uploads a file, a large one in parts; returns its upload id. */
  async upload(file: Source, options: UploadOptions = {}): Promise<string> {
    return await upload(this.#caller, file, options);
  }

  /** Downloads stems of a completed track into memory; returns the file of each. An interruption is continued. */
  async download(trackId: string, options: DownloadOptions = {}): Promise<Record<string, File>> {
    const received = new Map<string, { stem: Stem; memory: Memory }>();
    const sinkOf = async (stem: Stem): Promise<Memory> => {
      const memory = new Memory();
      received.set(stem.stem, { stem, memory });
      return memory;
    };
    await download(this.#caller, trackId, sinkOf, options);
    const files = [...received].map(([name, { stem, memory }]) => [name, new File([memory.blob("")], stem.name)]);
    return Object.fromEntries(files) as Record<string, File>;
  }

  /** Downloads stems of a completed track to sinks; `save` of `stemyard-client/node` has them in files. */
  async downloadTo(trackId: string, sinkOf: Parameters<typeof download>[2], options: DownloadOptions = {}): Promise<void> {
    await download(this.#caller, trackId, sinkOf, options);
  }

  /** Gives up this key's claim; the track is cancelled if it was the last. */
  async cancel(trackId: string): Promise<types.Cancelled> {
    return await this.#call<types.Cancelled>("POST", `${jobPath(trackId)}/cancel`, {}, "cancelled");
  }

  /** Runs a failed or cancelled track again. */
  async retry(trackId: string): Promise<Job> {
    return await jobOf(this.#caller, { method: "POST", url: `${jobPath(trackId)}/retry` });
  }

  /** Gives up this key's claim; the track and its files are deleted if it was the last. */
  async delete(trackId: string): Promise<types.Deleted> {
    return await this.#call<types.Deleted>("DELETE", jobPath(trackId), {}, "deleted");
  }

  /** Creates a link to a completed track that needs no key; `expiresIn` is in seconds, 7 days by default. */
  async share(trackId: string, expiresIn?: number): Promise<types.Share> {
    const json = expiresIn === undefined ? {} : { expires_in: expiresIn };
    return await this.#call<types.Share>("POST", `${jobPath(trackId)}/share`, { json }, "url");
  }

  /** Ends all share links of a track. */
  async revokeShares(trackId: string): Promise<void> {
    await this.#caller.call({ method: "DELETE", url: `${jobPath(trackId)}/share` });
  }

  /** Returns the results of a track's search, best first. */
  async candidates(trackId: string): Promise<types.Candidate[]> {
    const url = `${jobPath(trackId)}/candidates`;
    return (await this.#call<{ candidates: types.Candidate[] }>("GET", url, {}, "candidates")).candidates;
  }

  /** Returns the webhooks of a track's last run and the attempts at them. */
  async deliveries(trackId: string): Promise<types.Deliveries> {
    return await this.#call<types.Deliveries>("GET", `${jobPath(trackId)}/webhooks`, {}, "deliveries");
  }

  /** Has webhooks of a track delivered again; returns their ids. */
  async redeliver(trackId: string, webhookId = "all"): Promise<string[]> {
    const url = `${jobPath(trackId)}/webhooks/redeliver`;
    return (await this.#call<{ ids: string[] }>("POST", url, { json: { id: webhookId } }, "ids")).ids;
  }

  /** Registers a webhook for all tracks of this key; its secret is returned this once. */
  async registerWebhook(
    webhook: types.WebhookRequest,
    idempotencyKey = randomKey(),
  ): Promise<types.WebhookRegistrationWithSecret> {
    const more = { headers: { "Idempotency-Key": idempotencyKey }, json: webhook };
    return await this.#call<types.WebhookRegistrationWithSecret>("POST", "/webhooks", more, "id", "secret");
  }

  /** Returns the webhooks that this key has registered, the oldest first. */
  async webhooks(): Promise<types.WebhookRegistration[]> {
    return (await this.#call<{ webhooks: types.WebhookRegistration[] }>("GET", "/webhooks", {}, "webhooks")).webhooks;
  }

  /** Changes a registered webhook; what is absent stays as it is. */
  async changeWebhook(id: string, changes: types.WebhookChanges): Promise<types.WebhookRegistration> {
    return await this.#call<types.WebhookRegistration>("PATCH", webhookPath(id), { json: changes }, "id");
  }

  /** Gives a registered webhook a new secret; the one so far signs too for so many seconds, by default a day. */
  async rotateWebhookSecret(id: string, previousValidSeconds?: number): Promise<types.WebhookRegistrationWithSecret> {
    const json = previousValidSeconds === undefined ? {} : { previous_valid_seconds: previousValidSeconds };
    const url = `${webhookPath(id)}/rotate-secret`;
    return await this.#call<types.WebhookRegistrationWithSecret>("POST", url, { json }, "id", "secret");
  }

  /** Deletes a registered webhook. */
  async removeWebhook(id: string): Promise<void> {
    await this.#caller.call({ method: "DELETE", url: webhookPath(id) });
  }

  /** Sends a test to a registered webhook; returns its delivery, undefined if it has not been sent yet. */
  async testRegisteredWebhook(id: string): Promise<types.Delivery | undefined> {
    return await this.#test(`${webhookPath(id)}/test`, {});
  }

  /** Sends a test to `track_id`'s webhook, or with the scope admin to `url`, signed for `key`. */
  async testWebhook(target: types.WebhookTestRequest): Promise<types.Delivery | undefined> {
    return await this.#test("/webhooks/test", target);
  }

  /** Returns usage by key of tracks created between two times; needs the scope admin. */
  async usage(between: { created_after?: number; created_before?: number } = {}): Promise<types.Usage> {
    return await this.#call<types.Usage>("GET", "/usage", { query: parameters(between) }, "keys");
  }

  /** Returns what the installation offers to this key. */
  async capabilities(): Promise<types.Capabilities> {
    return await this.#call<types.Capabilities>("GET", "/capabilities", {}, "key", "models");
  }

  /** Returns the health of the service; needs no key. */
  async health(): Promise<types.Health> {
    return await this.#call<types.Health>("GET", "/health", {}, "status", "services");
  }

  async #fields(source: SourceOfSeparation, request: SeparateOptions): Promise<Record<string, string>> {
    if ("query" in source) return { search_query: source.query };
    if ("url" in source) return { url: source.url };
    if ("uploadId" in source) return { upload_id: source.uploadId };
    if ("object" in source) return { object: source.object };
    const { signal } = request;
    return { upload_id: await this.upload(source.file, { ...request.upload, ...(signal ? { signal } : {}) }) };
  }

  async #test(url: string, json: unknown): Promise<types.Delivery | undefined> {
    const answer = await this.#caller.call({ method: "POST", url, json, seconds: WEBHOOK_TEST_SECONDS });
    return answer.text.trim() === "null" ? undefined : parsed<types.Delivery>(answer, ["id", "state"]);
  }

  async #call<T>(
    method: string,
    url: string,
    more: Pick<Request, "query" | "headers" | "json">,
    ...required: Extract<keyof T, string>[]
  ): Promise<T> {
    return await this.#caller.json<T>({ method, url, ...more }, ...required);
  }
}

/** A separation and the last state of it that is known. */
export class Separation {
  readonly client: Client;
  job: Job;

  constructor(client: Client, job: Job) {
    this.client = client;
    this.job = job;
  }

  /** Id of the track. */
  get trackId(): string {
    return this.job.track_id;
  }

  /** Link to each stem by its name; empty unless completed. */
  get links(): Record<string, string> {
    return types.linksOf(this.job);
  }

  /** Returns its current state. */
  async refresh(): Promise<Job> {
    return (this.job = await this.client.job(this.trackId));
  }

  /** Yields each change, as `Client.follow` does. */
  async *follow(options: FollowOptions = {}): AsyncGenerator<Job, void> {
    for await (const job of this.client.follow(this.trackId, options)) yield (this.job = job);
  }

  /**
   * Waits until it is completed.
   *
   * Throws a SeparationFailedError if it failed, was cancelled or was deleted, and a WaitTimeoutError.
   */
  async wait(options: WaitOptions = {}): Promise<this> {
    for await (const job of this.follow(options)) options.onChange?.(job);
    if (this.job.status !== "completed") throw new SeparationFailedError(this.job);
    return this;
  }

  /** Downloads its stems into memory, as `Client.download` does. */
  async download(options: DownloadOptions = {}): Promise<Record<string, File>> {
    return await this.client.download(this.trackId, options);
  }

  /** Gives up this key's claim; it is cancelled if it was the last. */
  async cancel(): Promise<types.Cancelled> {
    return await this.client.cancel(this.trackId);
  }

  /** Runs it again after it failed or was cancelled. */
  async retry(): Promise<this> {
    this.job = await this.client.retry(this.trackId);
    return this;
  }

  /** Gives up this key's claim; it is deleted if it was the last. */
  async delete(): Promise<types.Deleted> {
    return await this.client.delete(this.trackId);
  }

  /** Creates a link to it that needs no key. */
  async share(expiresIn?: number): Promise<types.Share> {
    return await this.client.share(this.trackId, expiresIn);
  }

  /** Returns the results of its search, best first. */
  async candidates(): Promise<types.Candidate[]> {
    return await this.client.candidates(this.trackId);
  }
}

function named(source: string | Source | SourceOfSeparation): SourceOfSeparation {
  if (typeof source === "string") return /^https?:\/\//i.test(source) ? { url: source } : { query: source };
  if ("slice" in source) return { file: source };
  if (Object.keys(source).length !== 1) {
    throw new StemyardError("Give exactly one source: query, url, file, uploadId or object.", "invalid_source");
  }
  return source;
}

function parameters(values: Readonly<Record<string, unknown>>): URLSearchParams {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one === undefined || one === null) continue;
      found.append(name, typeof one === "object" ? JSON.stringify(one) : String(one));
    }
  }
  return found;
}

function webhookPath(id: string): string {
  return `/webhooks/${encodeURIComponent(id)}`;
}

/** Returns 128 random bits; `randomUUID` is missing on pages without a secure context. */
function randomKey(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
