// Parts: sends a large file in parts, which the store checks by their SHA-256. A part that fails is sent again, and an upload that
// was interrupted, even by closing the page, is continued when the same file is chosen again.

import { Problem } from "./client.js";
import { put } from "./store.js";
import { forget, remember, remembered } from "./unfinished.js";

const AT_ONCE = 3;
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Uploads a file and returns its upload id, which is remembered until `forget` is called.
 *
 * `progress` is called with 0 to 1, and whether a request that failed is about to be repeated; the signal stops the upload.
 */
export async function uploadInParts(client, file, description, progress, signal) {
  const failed = new AbortController(); // when one part is given up, the others stop
  const stop = AbortSignal.any([signal, failed.signal]);
  const upload = new Upload(client, file, progress, stop);
  try {
    return await upload.run(description);
  } finally {
    failed.abort();
  }
}

/** Drops what was sent of a file, if its upload in parts was begun. */
export async function dropParts(client, file) {
  const id = remembered(file);
  if (!id) return;
  forget(file);
  await client.delete(`/uploads/${id}`).catch(() => null); // else the service drops it in a day
}

class Upload {
  #sent = new Map();
  #repeating = 0;

  constructor(client, file, progress, stop) {
    Object.assign(this, { client, file, progress, stop });
  }

  async run(description) {
    const state = (await this.#continued()) ?? (await this.#begun(description));
    const id = state.upload_id;
    if (state.complete) return id;
    const received = new Map((state.received ?? []).map(({ number, sha256 }) => [number, sha256]));
    const numbers = Array.from({ length: state.parts }, (_, index) => index + 1).values();
    const work = async () => {
      for (const number of numbers) await this.#send(id, number, state.part_bytes, received.get(number));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    await this.#persist(() => this.client.post(`/uploads/${id}/complete`, undefined, this.stop));
    return id;
  }

  async #begun(description) {
    const state = await this.#persist(() => this.client.post("/uploads/multipart", description, this.stop));
    remember(this.file, state);
    return state;
  }

  /** Returns the state of an upload of this file that was begun before, or null. */
  async #continued() {
    const id = remembered(this.file);
    if (!id) return null;
    try {
      return await this.#persist(() => this.client.get(`/uploads/${id}`, this.stop));
    } catch (error) {
      if (error.status !== 404) throw error;
      forget(this.file);
      return null;
    }
  }

  /** Sends a part unless the store has the same bytes; the digest is of the bytes that are sent, also if the file has changed. */
  async #send(id, number, bytes, known) {
    const part = this.file.slice((number - 1) * bytes, number * bytes);
    await this.#persist(async () => {
      const sha256 = await digest(part);
      if (sha256 === known) return;
      const { parts } = await this.client.post(`/uploads/${id}/parts`, { parts: [{ number, sha256 }] }, this.stop);
      await put(parts[0], part, (sent) => this.#note(number, sent), this.stop);
    });
    this.#note(number, part.size);
  }

  #note(number, sent) {
    this.#sent.set(number, sent);
    this.#show();
  }

  #show() {
    const sent = [...this.#sent.values()].reduce((sum, each) => sum + each, 0);
    this.progress(sent / this.file.size, this.#repeating > 0);
  }

  /** Repeats what fails for a reason that may pass, after pauses that grow. */
  async #persist(action) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await action();
      } catch (error) {
        if (attempt === ATTEMPTS || !mayPass(error)) throw error;
        this.#repeating++;
        this.#show();
        await pause(attempt, error.retryAfter, this.stop).finally(() => this.#repeating--);
      }
    }
  }
}

// the store refuses a part also if its link has expired; a quota is used up for hours
const mayPass = (error) =>
  error instanceof Problem && error.code !== "QUOTA_EXCEEDED" && (error.transient || error.code === "UPLOAD_REFUSED");

function pause(attempt, seconds, signal) {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
  const length = (seconds ?? 0) * 1000 + longest * (0.5 + Math.random() / 2);
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, length);
    signal.addEventListener("abort", () => reject(signal.reason) || clearTimeout(timer), { once: true });
  });
}

async function digest(part) {
  const bytes = await part.arrayBuffer().catch(() => {
    throw new Problem({ code: "FILE_UNREADABLE", retryable: false, detail: "The file can no longer be read: it was changed, moved or removed." });
  });
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
