// Client: speaks to the API. The key travels in a header; every failure becomes a Problem with the API's stable code.

const TIMEOUT_MS = 20_000;

/** What went wrong with a request, as RFC 9457 tells it, or what the browser could tell. */
export class Problem extends Error {
  constructor({ code, detail, status = 0, fields = [], retryAfter = null, requestId = null }) {
    super(detail);
    Object.assign(this, { code, detail, status, fields, retryAfter, requestId });
  }

  /** Whether the same request may work later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Client {
  /** `session` holds the key. */
  constructor(session) {
    this.session = session;
  }

  /** Returns the JSON that answers a GET. */
  get(path, signal) {
    return this.#json("GET", path, undefined, signal);
  }

  /** Returns the JSON that answers a POST. */
  post(path, body, signal) {
    return this.#json("POST", path, body, signal);
  }

  /** Returns the JSON that answers a DELETE. */
  delete(path) {
    return this.#json("DELETE", path);
  }

  /** Opens a stream of events; the caller reads its body, and ends it by the signal. */
  open(path, headers, signal) {
    return this.#send("GET", path, { Accept: "text/event-stream", ...headers }, undefined, signal);
  }

  async #json(method, path, body, signal) {
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const either = signal ? AbortSignal.any([limit, signal]) : limit;
    const response = await this.#send(method, path, headers, body && JSON.stringify(body), either);
    return answered(response.json());
  }

  async #send(method, path, headers, body, signal) {
    if (this.session.key) headers["X-API-Key"] = this.session.key;
    const options = { method, headers, body, signal, cache: "no-store", credentials: "omit" };
    const response = await answered(fetch(path, options));
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

/** Waits for an answer; tells a lost network from a user who broke it off. */
async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const late = error.name === "TimeoutError";
    throw late
      ? new Problem({ code: "TIMEOUT", detail: "The service took too long to answer." })
      : new Problem({ code: "UNREACHABLE", detail: "The service could not be reached." });
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem({
    code: String(told.code ?? `HTTP_${response.status}`),
    detail: String(told.detail ?? `The service answered with status ${response.status}.`),
    status: response.status,
    fields: Array.isArray(told.errors) ? told.errors : [],
    retryAfter: Number.isFinite(wait) ? wait : null,
    requestId: told.request_id ?? null,
  });
}
