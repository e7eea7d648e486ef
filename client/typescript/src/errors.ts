/** Everything that can go wrong, as one tree: each error has a stable `code` and says whether a retry may help. */

import type { Job } from "./types.js";

/** Base of all errors of this client; the message is a sentence for people. */
export class StemyardError extends Error {
  /** Stable code, as in the table of failure codes; codes of this client itself are in lower case. */
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(message: string, code = "client_error", retryable = false, options?: ErrorOptions) {
    super(message, options);
    this.name = "StemyardError";
    this.code = code;
    this.retryable = retryable;
  }
}

/** The URL of the API is not one, or the key cannot be sent. */
export class AddressError extends StemyardError {
  constructor(message: string) {
    super(message, "invalid_address");
    this.name = "AddressError";
  }
}

/** The API or the object store could not be reached, or the connection broke off, also when it was tried again. */
export class ConnectionFailedError extends StemyardError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, "connection_failed", true, options);
    this.name = "ConnectionFailedError";
  }
}

/** The object store refused a file or sent an incomplete one, or the file on this machine changed meanwhile. */
export class TransferError extends StemyardError {
  constructor(message: string, retryable = false) {
    super(message, "transfer_failed", retryable);
    this.name = "TransferError";
  }
}

/** The API, or something in front of it, answered what Stemyard does not. */
export class InvalidAnswerError extends StemyardError {
  constructor(message: string) {
    super(message, "invalid_answer");
    this.name = "InvalidAnswerError";
  }
}

/** The separation has not ended within the time given to `wait`; it goes on. */
export class WaitTimeoutError extends StemyardError {
  constructor(message: string) {
    super(message, "wait_timeout", true);
    this.name = "WaitTimeoutError";
  }
}

/** The separation failed, was cancelled or was deleted; `job` is its last state. */
export class SeparationFailedError extends StemyardError {
  readonly job: Job;

  constructor(job: Job) {
    super(job.error ?? `The track ${job.track_id} was deleted.`, job.code ?? "deleted", job.retryable ?? false);
    this.name = "SeparationFailedError";
    this.job = job;
  }
}

/** The API refused a request. */
export class ApiError extends StemyardError {
  /** HTTP status. */
  readonly status: number;
  /** For each invalid field, what is wrong with it. */
  readonly fields: Readonly<Record<string, string>>;
  /** Id of the request in the API's log, if known. */
  readonly requestId: string | undefined;
  /** Seconds after which the request may succeed, if the API said so. */
  readonly retryAfter: number | undefined;

  constructor(status: number, document: Readonly<Record<string, unknown>>, retryAfter: number | undefined, text = "") {
    const retryable = "retryable" in document ? Boolean(document["retryable"]) : RETRYABLE.has(status);
    const detail = String(document["detail"] || text || `The server answered ${status}.`);
    super(detail, String(document["code"] || "http_error"), retryable);
    this.name = "ApiError";
    this.status = status;
    this.fields = fieldsOf(document["errors"]);
    this.requestId = document["request_id"] ? String(document["request_id"]) : undefined;
    this.retryAfter = retryAfter;
  }
}

/** 401: the API key is missing, wrong or expired. */
export class AuthenticationError extends ApiError {
  override readonly name = "AuthenticationError";
}

/** 403: the key lacks a scope. */
export class ForbiddenError extends ApiError {
  override readonly name = "ForbiddenError";
}

/** 404 or 410: there is no such track, upload or share link for this key. */
export class NotFoundError extends ApiError {
  override readonly name = "NotFoundError";
}

/** 409: the state of the track or upload does not allow this. */
export class ConflictError extends ApiError {
  override readonly name = "ConflictError";
}

/** Any other 4xx: the request must be changed; `fields` says where. */
export class InvalidRequestError extends ApiError {
  override readonly name = "InvalidRequestError";
}

/** 429: a rate limit or quota is reached. */
export class RateLimitedError extends ApiError {
  override readonly name = "RateLimitedError";
}

/** 5xx: the service or something in front of it failed. */
export class ServerError extends ApiError {
  override readonly name = "ServerError";
}

const RETRYABLE: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);
const BY_STATUS: ReadonlyMap<number, typeof ApiError> = new Map<number, typeof ApiError>([
  [401, AuthenticationError],
  [403, ForbiddenError],
  [404, NotFoundError],
  [409, ConflictError],
  [410, NotFoundError],
  [429, RateLimitedError],
]);

/** Returns the error for a response whose status is not a success. */
export function apiError(status: number, headers: Headers, body: string): ApiError {
  const Kind = BY_STATUS.get(status) ?? (status >= 500 ? ServerError : InvalidRequestError);
  const document = documentOf(body);
  const text = `The server answered ${status}, and not as Stemyard does: check the URL.`;
  const known = Object.keys(document).length > 0;
  return new Kind(status, document, secondsOf(headers.get("Retry-After")), known ? "" : text);
}

/** Returns the seconds of a Retry-After header; undefined without one and for a date, which the API never sends. */
export function secondsOf(retryAfter: string | null): number | undefined {
  return retryAfter !== null && /^[0-9]{1,15}$/.test(retryAfter) ? Number(retryAfter) : undefined;
}

function documentOf(body: string): Readonly<Record<string, unknown>> {
  try {
    const found: unknown = JSON.parse(body);
    return isRecord(found) ? found : {};
  } catch {
    return {};
  }
}

function fieldsOf(errors: unknown): Record<string, string> {
  const items = Array.isArray(errors) ? errors.filter(isRecord) : [];
  return Object.fromEntries(items.map((item) => [String(item["field"]), String(item["message"])]));
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
