/** Requests by `fetch`, with limits of time and size. */

import { AddressError, ConnectionFailedError, InvalidAnswerError } from "./errors.js";

const SECONDS = 30;
/** Longest time for a body to arrive. */
const BODY_SECONDS = 120;
/** Bytes of a body, after decompression; the largest of Stemyard's, a page of a list, has about one million. */
const BODY_LIMIT = 32 << 20;
/** The longest delay that a timer takes. */
const LONGEST_MS = 2 ** 31 - 1;

/** An HTTP request. A path goes to the API with the key; a complete URL goes to the object store, without it. */
export interface Request {
  readonly method: string;
  readonly url: string;
  readonly query?: URLSearchParams | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly content?: Uint8Array<ArrayBuffer>;
  /** Seconds until the headers have to be there, and then for each silence of an opened response; 30 by default. */
  readonly seconds?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A response that was read completely. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Where the API is and the key to it. */
export class Transport {
  readonly #url: string;
  readonly #key: string | undefined;
  readonly #fetch: typeof fetch;

  /** Throws an AddressError if the URL is not one of a server, or the key has characters that no header may have. */
  constructor(url: string, key: string | undefined, fetchFunction: typeof fetch | undefined) {
    this.#url = checkedUrl(url);
    this.#key = key === undefined ? undefined : checkedKey(key);
    this.#fetch = fetchFunction ?? ((...given) => globalThis.fetch(...given));
  }

  /** Sends a request and reads the response. Throws a ConnectionFailedError or an InvalidAnswerError. */
  async send(request: Request): Promise<Answer> {
    const opened = await this.open(request);
    return { status: opened.status, headers: opened.headers, text: await opened.text() };
  }

  /** Sends a request; the response is not read yet. Close it. Throws a ConnectionFailedError. */
  async open(request: Request): Promise<Opened> {
    const toApi = request.url.startsWith("/");
    const query = request.query?.toString();
    const url = checkedLink((toApi ? this.#url : "") + request.url + (query ? `?${query}` : ""));
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers ?? {})) setHeader(headers, name, value);
    if (request.json !== undefined) headers.set("Content-Type", "application/json");
    if (toApi && this.#key !== undefined) headers.set("X-API-Key", this.#key);
    const limit = new Limit(toApi ? "The API" : "The object store", request.seconds ?? SECONDS, request.signal);
    const response = await limit.within(
      this.#fetch(url, {
        method: request.method,
        headers,
        body: request.json !== undefined ? JSON.stringify(request.json) : (request.content ?? null),
        signal: limit.signal,
        redirect: "manual", // another server would get the key
        credentials: "omit",
        cache: "no-store",
        referrerPolicy: "no-referrer",
      }),
    );
    return new Opened(response, limit);
  }
}

/** A response that is read as it arrives. */
export class Opened {
  readonly #response: Response;
  readonly #limit: Limit;

  constructor(response: Response, limit: Limit) {
    this.#response = response;
    this.#limit = limit;
  }

  get status(): number {
    return this.#response.status;
  }

  get headers(): Headers {
    return this.#response.headers;
  }

  /** Yields what arrives; ends the connection when it is left. Throws a ConnectionFailedError. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const reader = this.#response.body?.getReader();
    try {
      while (reader !== undefined) {
        const { done, value } = await this.#limit.within(reader.read());
        if (done) return;
        yield value;
      }
    } finally {
      this.close();
    }
  }

  /** Returns the whole body as text. Throws a ConnectionFailedError, or an InvalidAnswerError if it is too large. */
  async text(): Promise<string> {
    const decoder = new TextDecoder();
    const deadline = performance.now() + BODY_SECONDS * 1000;
    let text = "";
    let size = 0;
    for await (const chunk of this.chunks()) {
      size += chunk.length;
      if (size > BODY_LIMIT) throw new InvalidAnswerError("The server's answer has more than 32 MiB: check the URL.");
      if (performance.now() > deadline) throw this.#limit.failure(`its answer has not arrived in ${BODY_SECONDS} seconds`);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  }

  /** Ends the connection. */
  close(): void {
    this.#limit.end();
  }
}

/** Ends a connection that is silent for too long, or when the caller says so. */
class Limit {
  readonly #place: string;
  readonly #ms: number;
  readonly #given: AbortSignal | undefined;
  readonly #controller = new AbortController();
  readonly #stop = (): void => this.#controller.abort(this.#given?.reason);
  #silent = false;

  constructor(place: string, seconds: number, given: AbortSignal | undefined) {
    this.#place = place;
    this.#ms = Math.min(seconds * 1000, LONGEST_MS);
    this.#given = given;
    given?.throwIfAborted();
    given?.addEventListener("abort", this.#stop);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Returns the result of one step. Throws the caller's reason to stop, or a ConnectionFailedError. */
  async within<T>(step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#silent = true;
      this.#controller.abort();
    }, this.#ms);
    try {
      return await step;
    } catch (error) {
      this.end();
      if (this.#given?.aborted) throw this.#given.reason;
      throw this.failure(this.#silent ? `it was silent for ${this.#ms / 1000} seconds` : reasonOf(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Returns the error for a connection without an answer; it names no link, because links are signed. */
  failure(reason: string, cause?: unknown): ConnectionFailedError {
    return new ConnectionFailedError(`${this.#place} could not be reached: ${reason}.`, { cause });
  }

  end(): void {
    this.#given?.removeEventListener("abort", this.#stop);
    this.#controller.abort();
  }
}

/** Waits. Throws the signal's reason when it is aborted. */
export async function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, Math.min(seconds * 1000, LONGEST_MS));
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined; // Node's fetch says why in the cause only
  const found = cause instanceof Error ? cause : error;
  return found instanceof Error ? found.message || found.name : String(found);
}

function checkedUrl(url: string): string {
  const trimmed = url.trim().replace(/\/+$/, "");
  if (!/^https?:\/\/[^/]/i.test(trimmed) || !URL.canParse(trimmed)) {
    throw new AddressError(`'${url}' is not the URL of an API; it looks like https://stems.example.org.`);
  }
  return trimmed;
}

function checkedKey(key: string): string {
  if (!/^[ -~]+$/.test(key) || !key.trim()) {
    throw new AddressError("The API key is empty or has characters that no key has; was it pasted completely?");
  }
  return key.trim();
}

function checkedLink(url: string): string {
  if (/^https?:\/\/[^/]/i.test(url) && URL.canParse(url)) return url;
  throw new InvalidAnswerError("The API named an address that no request may have.");
}

function setHeader(headers: Headers, name: string, value: string): void {
  if (/^(content-length|host)$/i.test(name)) return; // fetch sets them
  try {
    headers.set(name, value);
  } catch {
    throw new InvalidAnswerError("The API named a header that no request may have.");
  }
}
