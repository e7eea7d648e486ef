/** Downloads of stems, which continue where they were interrupted. */

import { ConnectionFailedError, StemyardError, TransferError } from "./errors.js";
import { readJob } from "./following.js";
import { stemName } from "./names.js";
import { pauseAfter, type Caller } from "./retries.js";
import { sleep, type Opened } from "./transport.js";
import { linksOf, type Job, type OnBytes } from "./types.js";
import { STORE_REPEATED } from "./uploads.js";

const LINK_ENDED = 403;
const RANGE_BEYOND = 416;
const CHUNK_SECONDS = 60;
/** Stems of later versions, too. What else a server may send would choose the name of the file: `.x`, `../x`. */
const STEM = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;
const ENDING = /^[A-Za-z0-9]{1,8}$/;

/** How to download. */
export interface DownloadOptions {
  /** Names of the stems; all without it. */
  stems?: readonly string[];
  /** Called with the progress of each stem. */
  onBytes?: OnBytes;
  signal?: AbortSignal;
}

/** A stem of a track. */
export interface Stem {
  readonly stem: string;
  /** A portable name of the file, such as `Artist - Title (Vocals).mp3`. */
  readonly name: string;
  readonly link: string;
}

/** Where the bytes of a stem go. */
export interface Sink {
  /** Returns the number of bytes that are there. */
  size(): Promise<number>;
  /** Takes the size of the whole file and the store's ETag of it; returns false if nothing is to be downloaded. */
  begin(total: number, tag: string): Promise<boolean>;
  /** Takes bytes, and drops what is there from this offset on. */
  write(chunk: Uint8Array, offset: number): Promise<void>;
}

/**
 * Downloads stems of a completed track, each to the sink that `sinkOf` returns.
 *
 * Throws a StemyardError if the track is not completed or lacks a stem, a TransferError if the store refuses or no file
 * can be named as the API does, and a ConnectionFailedError if API or store cannot be reached.
 */
export async function download(
  caller: Caller,
  trackId: string,
  sinkOf: (stem: Stem) => Promise<Sink>,
  options: DownloadOptions,
): Promise<void> {
  let job = await readJob(caller, trackId, options.signal);
  for (const name of wanted(job, options.stems)) {
    const stem = stemOf(job, name);
    if (await receive(caller, stem, await sinkOf(stem), options)) continue;
    job = await readJob(caller, trackId, options.signal); // the link has expired meanwhile
    const again = stemOf(job, name);
    if (!(await receive(caller, again, await sinkOf(again), options))) {
      throw new TransferError(`The object store refused the link to ${name} with ${LINK_ENDED}.`);
    }
  }
}

function wanted(job: Job, stems: readonly string[] | undefined): readonly string[] {
  const names = Object.keys(linksOf(job));
  if (names.length === 0) {
    throw new StemyardError(`The track ${job.track_id} is not completed but ${job.status}; it has no stems.`);
  }
  const missing = (stems ?? []).filter((stem) => !names.includes(stem));
  if (missing.length > 0) {
    throw new StemyardError(`The track has no stem ${missing.join(", ")}; it has ${names.join(", ")}.`);
  }
  return stems ?? names;
}

function stemOf(job: Job, stem: string): Stem {
  const link = linksOf(job)[stem] ?? "";
  const path = URL.canParse(link) ? new URL(link).pathname : "";
  const ending = path.slice(path.lastIndexOf(".") + 1);
  if (!STEM.test(stem) || !ENDING.test(ending)) {
    const named = `a stem ${JSON.stringify(stem)} with the ending ${JSON.stringify(ending)}`;
    throw new TransferError(`The API names ${named}, and no file can be called so.`);
  }
  return { stem, link, name: stemName(job.title ?? job.query, job.artist, job.track_id, stem, ending) };
}

/** Downloads one stem with repetitions; returns false if its link has ended. */
async function receive(caller: Caller, stem: Stem, sink: Sink, options: DownloadOptions): Promise<boolean> {
  for (let attempt = 0; ; ) {
    const size = await sink.size();
    try {
      return await receiveOnce(caller, stem, sink, size, options);
    } catch (error) {
      if (!(error instanceof ConnectionFailedError || error instanceof TransferError)) throw error;
      attempt = (await sink.size()) > size ? 1 : attempt + 1; // an attempt that got further counts as the first
      const pause = pauseAfter(caller.retries, attempt);
      if (!error.retryable || pause === undefined) throw error;
      await sleep(pause, options.signal);
    }
  }
}

async function receiveOnce(
  caller: Caller,
  stem: Stem,
  sink: Sink,
  offset: number,
  options: DownloadOptions,
): Promise<boolean> {
  const range = offset > 0 ? { Range: `bytes=${offset}-` } : {};
  const headers = { "Accept-Encoding": "identity", ...range };
  const { signal } = options;
  const opened = await caller.transport.open({ method: "GET", url: stem.link, headers, seconds: CHUNK_SECONDS, signal });
  try {
    if (opened.status === LINK_ENDED) return false;
    let [at, total] = extent(opened, offset);
    if (!(await sink.begin(total, opened.headers.get("ETag") ?? "")) || at === total) return true;
    for await (const chunk of opened.chunks()) {
      const kept = chunk.subarray(0, total - at);
      await sink.write(kept, at);
      at += kept.length;
      options.onBytes?.(at, total);
      if (at === total) return true;
    }
    throw new TransferError(`${stem.name} has ${at} bytes instead of ${total}.`, true);
  } finally {
    opened.close();
  }
}

/** Returns where the response's bytes begin, and the size of the whole file. */
function extent(opened: Opened, offset: number): [number, number] {
  const { status, headers } = opened;
  const total = sizeOf(/\/([0-9]+)$/.exec(headers.get("Content-Range") ?? "")?.[1]);
  const length = sizeOf(headers.get("Content-Length"));
  if (status === 206 && total !== undefined) return [offset, total];
  // where the store's CORS rules do not show Content-Range to pages
  if (status === 206 && length !== undefined) return [offset, offset + length];
  if (status === RANGE_BEYOND && offset > 0 && (total === undefined || total === offset)) return [offset, offset];
  if (status === 200 && length !== undefined) return [0, length];
  throw new TransferError(`The object store refused a stem with ${status}.`, STORE_REPEATED.has(status));
}

function sizeOf(text: string | null | undefined): number | undefined {
  return text && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Keeps a stem in memory. */
export class Memory implements Sink {
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  #size = 0;

  async size(): Promise<number> {
    return this.#size;
  }

  async begin(): Promise<boolean> {
    return true;
  }

  async write(chunk: Uint8Array, offset: number): Promise<void> {
    if (offset !== this.#size) this.#chunks = [new Uint8Array(await this.blob("").slice(0, offset).arrayBuffer())];
    this.#chunks.push(new Uint8Array(chunk));
    this.#size = offset + chunk.length;
  }

  /** Returns the bytes. */
  blob(type: string): Blob {
    return new Blob(this.#chunks, { type });
  }
}
