/** Requests that are repeated: which answers are worth it, how often, and how long the pauses are. */

import { ConnectionFailedError, InvalidAnswerError, apiError, isRecord, type ApiError } from "./errors.js";
import { sleep, type Answer, type Request, type Transport } from "./transport.js";

const FIRST_SECONDS = 0.5;
const REPEATED: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

/** How requests are repeated after an error that may pass. Every request of this client may be sent twice. */
export interface Retries {
  /** Number of times that a request is sent at most. */
  readonly attempts: number;
  /** Longest pause. A server that asks for more with Retry-After is not waited for: the error is thrown at once. */
  readonly longestSeconds: number;
}

export const RETRIES: Retries = { attempts: 5, longestSeconds: 60 };

/**
 * Returns the seconds to wait after an attempt, counted from 1; undefined if it was the last.
 *
 * `error` is what the server answered; undefined if the connection failed.
 */
export function pauseAfter(retries: Retries, attempt: number, error?: ApiError): number | undefined {
  if (attempt >= retries.attempts || (error !== undefined && !isPassing(error))) return undefined;
  const asked = error?.retryAfter;
  if (asked !== undefined) return asked <= retries.longestSeconds ? asked * between(1, 1.2) : undefined;
  return Math.min(FIRST_SECONDS * 2 ** (attempt - 1), retries.longestSeconds) * between(0.5, 1);
}

/** Returns a random number between two, for jitter. */
export function between(low: number, high: number): number {
  return low + (high - low) * Math.random();
}

function isPassing(error: ApiError): boolean {
  return error.retryable && (REPEATED.has(error.status) || error.retryAfter !== undefined);
}

/** The API, and how requests to it are repeated. */
export class Caller {
  constructor(
    readonly transport: Transport,
    readonly retries: Retries,
  ) {}

  /** Sends a request to the API until it succeeds. Throws an ApiError or a ConnectionFailedError. */
  async call(request: Request): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#attempt(request);
      if (!(outcome instanceof Error)) return outcome;
      const refused = outcome instanceof ConnectionFailedError ? undefined : outcome;
      const pause = pauseAfter(this.retries, attempt, refused);
      if (pause === undefined) throw outcome;
      await sleep(pause, request.signal);
    }
  }

  /**
   * Sends a request to the API until it succeeds, and returns the JSON object that it answers.
   *
   * `required` are the fields without which it is not one of Stemyard's, in which case an InvalidAnswerError is thrown.
   */
  async json<T>(request: Request, ...required: Extract<keyof T, string>[]): Promise<T> {
    return parsed<T>(await this.call(request), required);
  }

  async #attempt(request: Request): Promise<Answer | ApiError | ConnectionFailedError> {
    try {
      const answer = await this.transport.send(request);
      const ok = answer.status >= 200 && answer.status < 300;
      return ok ? answer : apiError(answer.status, answer.headers, answer.text);
    } catch (error) {
      if (error instanceof ConnectionFailedError) return error;
      throw error;
    }
  }
}

/** Returns the JSON object of an answer. Throws an InvalidAnswerError if it is something else. */
export function parsed<T>(answer: Answer, required: readonly string[]): T {
  try {
    const value: unknown = JSON.parse(answer.text);
    if (isRecord(value) && required.every((name) => value[name] !== undefined)) return value as T;
  } catch {
    // not JSON: as any other answer that is not Stemyard's
  }
  throw new InvalidAnswerError(
    `The server answered ${answer.status}, and not as Stemyard does: check the URL, ` +
      "or update the client if the service is newer.",
  );
}
