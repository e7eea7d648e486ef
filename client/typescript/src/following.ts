/** Follows a track to its end: by server-sent events, resumed where they broke off, else by asking again and again. */

import { ConnectionFailedError, InvalidAnswerError, NotFoundError, WaitTimeoutError, isRecord } from "./errors.js";
import { EventStreamError, EventStreamParser, type ServerEvent } from "./event_stream.js";
import { between, type Caller } from "./retries.js";
import { sleep, type Request } from "./transport.js";
import { hasEnded, type Job } from "./types.js";

/** Connections without any event, one after the other, after which the track is polled instead. */
const BROKEN_IN_A_ROW = 3;
/** Longest silence of a stream, on which the API sends a comment every 4 seconds. */
const SILENCE_SECONDS = 30;
const POLL_SECONDS = { first: 0.5, longest: 5, factor: 1.5 };
/** Fields of `phase` and `progress` events that are also fields of a Job. */
const CHANGES = ["phase", "progress", "step", "reason", "run"];
const STATUSES: readonly unknown[] = ["processing", "completed", "failed", "deleted"];

/** How long to follow. */
export interface FollowOptions {
  /** Longest time; without it, for as long as it takes. */
  timeoutSeconds?: number;
  signal?: AbortSignal;
}

/** Follows one track. */
export class Follower {
  readonly #caller: Caller;
  readonly #trackId: string;
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: number;
  readonly #parser = new EventStreamParser();
  #job: Job | undefined;

  constructor(caller: Caller, trackId: string, options: FollowOptions) {
    this.#caller = caller;
    this.#trackId = trackId;
    this.#signal = options.signal;
    this.#deadline = performance.now() + (options.timeoutSeconds ?? Infinity) * 1000;
  }

  /**
   * Yields each change; the last has ended.
   *
   * Throws a WaitTimeoutError, an ApiError if the track cannot be read, a ConnectionFailedError if the API cannot be
   * reached for long, or the signal's reason.
   */
  async *run(): AsyncGenerator<Job, void> {
    for (let broken = 0; broken < BROKEN_IN_A_ROW; ) {
      const before = this.#job;
      try {
        if (!(yield* this.#stream())) break;
      } catch (error) {
        if (!(error instanceof ConnectionFailedError || error instanceof EventStreamError)) throw error;
      }
      this.#parser.restart();
      if (this.#job !== undefined && hasEnded(this.#job)) return;
      broken = this.#job === before ? broken + 1 : 0;
      await this.#pause(this.#parser.retrySeconds * between(0.2, 1));
    }
    yield* this.#poll();
  }

  /** Reads one connection to its end; returns whether another may help. */
  async *#stream(): AsyncGenerator<Job, boolean> {
    const { lastId } = this.#parser;
    const opened = await this.#caller.transport.open({
      method: "GET",
      url: `${jobPath(this.#trackId)}/events`,
      headers: { Accept: "text/event-stream", ...(lastId === undefined ? {} : { "Last-Event-ID": lastId }) },
      seconds: Math.min(SILENCE_SECONDS, this.#left()),
      signal: this.#signal,
    });
    try {
      const kind = opened.headers.get("Content-Type") ?? "";
      // if it is refused, asking for the job says why, or there is nothing more
      if (opened.status !== 200 || !kind.startsWith("text/event-stream")) return false;
      for await (const chunk of opened.chunks()) {
        for (const event of this.#parser.feed(chunk)) {
          if (!(await this.#apply(event)) || this.#job === undefined) continue;
          yield this.#job;
          if (hasEnded(this.#job)) return true;
        }
        this.#left();
      }
      return true;
    } finally {
      opened.close();
    }
  }

  /** Takes an event; returns whether it changed the state. */
  async #apply(event: ServerEvent): Promise<boolean> {
    const data = objectOf(event);
    if (event.name === "snapshot" || event.name === "end") {
      this.#job = state({ track_id: this.#trackId, ...data });
    } else if (event.name === "phase" || (event.name === "progress" && this.#job === undefined)) {
      // the event lacks what a new phase brings: title, place in the queue, remaining time
      this.#job = await this.#current();
    } else if (event.name === "progress") {
      const changes = Object.fromEntries(Object.entries(data).filter(([name]) => CHANGES.includes(name)));
      this.#job = state({ ...this.#job, ...changes });
    } else {
      return false;
    }
    return true;
  }

  async *#poll(): AsyncGenerator<Job, void> {
    for (let pause = POLL_SECONDS.first; ; pause = Math.min(pause * POLL_SECONDS.factor, POLL_SECONDS.longest)) {
      const job = await this.#current();
      if (JSON.stringify(job) !== JSON.stringify(this.#job)) yield (this.#job = job);
      if (hasEnded(job)) return;
      await this.#pause(pause * between(0.8, 1.2));
    }
  }

  async #current(): Promise<Job> {
    try {
      return await readJob(this.#caller, this.#trackId, this.#signal);
    } catch (error) {
      if (this.#job === undefined || !(error instanceof NotFoundError)) throw error;
      return { status: "deleted", track_id: this.#trackId }; // while it was followed
    }
  }

  async #pause(seconds: number): Promise<void> {
    await sleep(Math.min(seconds, this.#left()), this.#signal);
  }

  /** Returns the seconds that are left. Throws a WaitTimeoutError if none are. */
  #left(): number {
    const left = (this.#deadline - performance.now()) / 1000;
    if (left <= 0) throw new WaitTimeoutError(`The track ${this.#trackId} has not ended in time; it goes on.`);
    return left;
  }
}

/** Returns the state of a track. */
export async function readJob(caller: Caller, trackId: string, signal?: AbortSignal): Promise<Job> {
  return await jobOf(caller, { method: "GET", url: jobPath(trackId), signal });
}

/** Sends a request that is answered with the state of a track. */
export async function jobOf(caller: Caller, request: Request): Promise<Job> {
  const job = await caller.json<Job>(request, "track_id", "status");
  if (STATUSES.includes(job.status)) return job;
  throw new InvalidAnswerError("The server answered a state that this client does not know: update it.");
}

/** Returns the path of a track. */
export function jobPath(trackId: string): string {
  return `/job/${encodeURIComponent(trackId)}`;
}

function objectOf(event: ServerEvent): Record<string, unknown> {
  try {
    const data: unknown = JSON.parse(event.data);
    if (isRecord(data)) return data;
  } catch {
    // as any other data that is not Stemyard's
  }
  throw new EventStreamError("the data of an event is no JSON object");
}

function state(data: Record<string, unknown>): Job {
  if (!STATUSES.includes(data["status"])) throw new EventStreamError("an event has no known status");
  return data as Job;
}
