// Client: calls the API. The key is sent in a header; every failure becomes a Problem with the API's stable code.

const TIMEOUT_MS = 20_000;

/** A failed request: RFC 9457 problem details, or what the browser reported. */
export class Problem extends Error {
  constructor({ code, detail, status = 0, retryable = null, fields = [], retryAfter = null, requestId = null }) {
    super(detail);
    Object.assign(this, { code, detail, status, retryable, fields, retryAfter, requestId });
  }

  /** Whether the same request may succeed later. */
  get transient() {
    return this.retryable ?? (this.status === 0 || this.status === 429 || this.status >= 500);
  }
}

export class Client {
  /** `session` holds the key. */
  constructor(session) {
    this.session = session;
  }

  /** Returns the JSON response to a GET. */
  get(path, signal) {
    return this.#json("GET", path, undefined, signal);
  }

  /** Returns the JSON response to a POST. */
  post(path, body, signal) {
    return this.#json("POST", path, body, signal);
  }

  /** Returns the JSON response to a DELETE. */
  delete(path) {
    return this.#json("DELETE", path);
  }

  /** Opens a file for download; the caller reads its body, and aborts it by the signal. */
  download(path, signal) {
    return this.#send("GET", path, { Accept: "*/*" }, undefined, signal);
  }

  /** Opens a stream of events; the caller reads its body, and aborts it by the signal. */
  open(path, headers, signal) {
    return this.#send("GET", path, { Accept: "text/event-stream", ...headers }, undefined, signal);
  }

  async #json(method, path, body, signal) {
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const combined = signal ? AbortSignal.any([limit, signal]) : limit;
    const response = await this.#send(method, path, headers, body && JSON.stringify(body), combined);
    return response.status === 204 ? null : settled(response.json());
  }

  async #send(method, path, headers, body, signal) {
    if (this.session.key) headers["X-API-Key"] = this.session.key;
    const options = { method, headers, body, signal, cache: "no-store", credentials: "omit" };
    const response = await settled(fetch(path, options));
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}

/** Awaits a response; turns timeouts and network errors into Problems, and passes aborts on. */
async function settled(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw error.name === "TimeoutError"
      ? new Problem({ code: "TIMEOUT", detail: "The service took too long to respond." })
      : new Problem({ code: "UNREACHABLE", detail: "The service could not be reached." });
  }
}

async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem({
    code: String(problem.code ?? `HTTP_${response.status}`),
    detail: String(problem.detail ?? `The service responded with status ${response.status}.`),
    status: response.status,
    retryable: typeof problem.retryable === "boolean" ? problem.retryable : null,
    fields: Array.isArray(problem.errors) ? problem.errors : [],
    retryAfter: Number.isFinite(wait) ? wait : null,
    requestId: problem.request_id ?? null,
  });
}
