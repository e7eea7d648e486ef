/** Parser of server-sent events (WHATWG HTML, section 9.2.6). */

/** Characters of one event, after which the stream is not one of Stemyard's. */
const LONGEST = 8 << 20;
const LONGEST_RETRY_SECONDS = 60;

/** The stream is not one of server-sent events. */
export class EventStreamError extends Error {
  override readonly name = "EventStreamError";
}

/** One event of a stream. */
export interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/** Takes the bytes of a stream as they arrive and gives its events. */
export class EventStreamParser {
  /** Id of the last event, to send as `Last-Event-ID`. */
  lastId: string | undefined;
  /** Pause before the next connection, as the server asked, but at most a minute. */
  retrySeconds = 3;
  #decoder = new TextDecoder();
  #left = "";
  #name = "";
  #data: string[] = [];
  #size = 0;

  /** Yields the events that are complete with these bytes. Throws an EventStreamError if one is too large. */
  *feed(chunk: Uint8Array): Generator<ServerEvent> {
    const lines = (this.#left + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#left = lines.pop() ?? "";
    for (const line of lines) {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (text) {
        this.#field(text);
      } else if (this.#data.length > 0) {
        yield { name: this.#name || "message", data: this.#data.join("\n") };
        this.#begin();
      } else {
        this.#name = "";
      }
    }
    if (this.#left.length + this.#size > LONGEST) throw new EventStreamError("an event is too large");
  }

  /** Forgets what was begun when the connection ended; the id stays. */
  restart(): void {
    this.#decoder = new TextDecoder();
    this.#left = "";
    this.#begin();
  }

  #begin(): void {
    this.#name = "";
    this.#data = [];
    this.#size = 0;
  }

  #field(line: string): void {
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/su.exec(line) ?? [];
    if (name === "event") {
      this.#name = value;
    } else if (name === "data") {
      this.#data.push(value);
      this.#size += line.length + 1;
    } else if (name === "id" && /^[ -~]*$/.test(value)) {
      this.lastId = value; // others fit in no header
    } else if (name === "retry" && /^[0-9]+$/.test(value)) {
      this.retrySeconds = Math.min(Number(value) / 1000, LONGEST_RETRY_SECONDS);
    }
  }
}
