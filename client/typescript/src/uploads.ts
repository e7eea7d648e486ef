/** Uploads of files: small ones whole, large ones in parts that can be interrupted and continued. */

import { ApiError, ConnectionFailedError, NotFoundError, TransferError } from "./errors.js";
import { pauseAfter, type Caller } from "./retries.js";
import { sleep } from "./transport.js";
import type { OnBytes, PartLink, UploadSlot, UploadState } from "./types.js";

/** Largest file that is sent in one request, and so read into memory. */
const WHOLE_BYTES = 16 << 20;
const FILE_SECONDS = 600;
/** Answer of the store to a repeated PUT of a file whose first response was lost. */
const ALREADY_THERE = 412;
/** Statuses of the object store after which a request is repeated. */
export const STORE_REPEATED: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** A file to be uploaded: a browser's File, what `openFile` of `stemyard-client/node` returns, or one of your own. */
export interface Source {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Media type; those that are neither audio nor video are not sent. */
  readonly type: string;
  /** Returns the bytes from `start` to `end`, which is not included. */
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/** How to upload. */
export interface UploadOptions {
  /** An earlier upload of this file, to be continued or, if it is complete, used again. */
  uploadId?: string;
  /** Called with the id of an upload that is begun, to continue it after an interruption. */
  onBegin?: (uploadId: string) => void;
  onBytes?: OnBytes;
  signal?: AbortSignal;
}

/**
 * Uploads a file and returns its upload id.
 *
 * Throws an ApiError if the API refused it, a TransferError if the store refused it or the file was changed meanwhile,
 * and a ConnectionFailedError if one of them could not be reached.
 */
export async function upload(caller: Caller, file: Source, options: UploadOptions): Promise<string> {
  const known = options.uploadId === undefined ? undefined : await knownUpload(caller, options.uploadId, options.signal);
  const target = known ?? (await begin(caller, file, options.signal));
  if (known === undefined) options.onBegin?.(target.upload_id);
  if (!("url" in target)) return await sendParts(caller, file, target, options);
  await put(caller, target, await read(file, 0, file.size), options.signal);
  options.onBytes?.(file.size, file.size);
  return target.upload_id;
}

/** Announces a file; returns where to send it whole, or the upload in parts that was begun. */
async function begin(caller: Caller, file: Source, signal?: AbortSignal): Promise<UploadSlot | UploadState> {
  const type = /^(audio|video)\/[A-Za-z0-9][A-Za-z0-9.+-]*$/.test(file.type) ? file.type : "application/octet-stream";
  const json = { filename: file.name.slice(-255) || "audio", size: file.size, content_type: type };
  // without a secure context, a browser has no digests, which parts need
  if (file.size <= WHOLE_BYTES || globalThis.crypto.subtle === undefined) {
    const request = { method: "POST", url: "/uploads", json, signal };
    return await caller.json<UploadSlot>(request, "upload_id", "url", "headers");
  }
  const request = { method: "POST", url: "/uploads/multipart", json, signal };
  return await caller.json<UploadState>(request, "upload_id", "size", "parts", "part_bytes");
}

async function knownUpload(caller: Caller, id: string, signal?: AbortSignal): Promise<UploadState | undefined> {
  try {
    const request = { method: "GET", url: `/uploads/${encodeURIComponent(id)}`, signal };
    return await caller.json<UploadState>(request, "upload_id", "size");
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    if (error instanceof ApiError && error.code === "UPLOAD_MISSING") return undefined; // of a whole file: nothing arrived
    throw error;
  }
}

async function sendParts(caller: Caller, file: Source, state: UploadState, options: UploadOptions): Promise<string> {
  const { upload_id, size, parts = 0, part_bytes = 0 } = state;
  if (state.complete) return upload_id;
  if (file.size !== size) throw new TransferError(`${file.name} has another size than when its upload began.`);
  const received = new Map((state.received ?? []).map((part) => [part.number, part.sha256]));
  const url = `/uploads/${encodeURIComponent(upload_id)}`;
  for (let number = 1; number <= parts; number++) {
    const end = Math.min(number * part_bytes, size);
    const content = await read(file, (number - 1) * part_bytes, end);
    const sha256 = await digest(content);
    if (received.get(number) !== sha256) {
      const request = { method: "POST", url: `${url}/parts`, json: { parts: [{ number, sha256 }] }, signal: options.signal };
      const links = await caller.json<{ parts: PartLink[] }>(request, "parts");
      for (const link of links.parts) await put(caller, link, content, options.signal);
    }
    options.onBytes?.(end, size);
  }
  await caller.call({ method: "POST", url: `${url}/complete`, seconds: FILE_SECONDS, signal: options.signal });
  return upload_id;
}

async function read(file: Source, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const content = new Uint8Array(await file.slice(start, end).arrayBuffer());
  if (content.length !== end - start) throw new TransferError(`${file.name} was changed while it was read.`);
  return content;
}

async function digest(content: Uint8Array<ArrayBuffer>): Promise<string> {
  const found = new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", content));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function put(
  caller: Caller,
  link: Pick<PartLink, "url" | "headers">,
  content: Uint8Array<ArrayBuffer>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const request = { method: "PUT", url: link.url, headers: link.headers, content, seconds: FILE_SECONDS, signal };
  for (let attempt = 1; ; attempt++) {
    const pause = pauseAfter(caller.retries, attempt);
    try {
      const { status } = await caller.transport.send(request);
      if ((status >= 200 && status < 300) || status === ALREADY_THERE) return;
      const repeated = STORE_REPEATED.has(status);
      const refused = new TransferError(`The object store refused the file with ${status}.`, repeated);
      if (!repeated || pause === undefined) throw refused;
    } catch (error) {
      if (!(error instanceof ConnectionFailedError) || pause === undefined) throw error;
    }
    await sleep(pause, signal);
  }
}
