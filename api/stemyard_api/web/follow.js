// Follow: a track's server-sent events, read by fetch because EventSource cannot send a key.
// Source: WHATWG HTML, server-sent events.

import { Problem } from "./client.js";

const FIRST_EVENT_MS = 10_000;
const SILENCE_MS = 45_000;
const LONGEST_WAIT_MS = 15_000;

/**
 * Yields `{name, data}` until the track has ended: `snapshot`, `phase`, `progress`, `end`.
 *
 * A broken stream is resumed after its last event. While no stream can be opened, the state is polled instead.
 * Throws a Problem that a retry would not solve.
 */
export async function* follow(client, trackId, signal) {
  const place = { id: "", retryMs: 3000 };
  let failures = 0;
  while (!signal.aborted) {
    let waitMs;
    try {
      for await (const event of stream(client, trackId, place, signal)) {
        failures = 0;
        yield event;
        if (event.name === "end") return;
      }
      waitMs = place.retryMs; // a draining process sends the reconnection delay
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem) || !error.transient) throw error;
      failures += 1;
      waitMs = error.retryAfter !== null ? error.retryAfter * 1000 : backoff(failures);
    }
    if (failures > 0) {
      const state = await polled(client, trackId, signal);
      if (state) yield { name: state.status === "processing" ? "snapshot" : "end", data: state };
      if (state && state.status !== "processing") return;
    }
    await pause(waitMs, signal);
  }
}

async function* stream(client, trackId, place, signal) {
  const silence = new AbortController();
  const headers = place.id ? { "Last-Event-ID": place.id } : {};
  let timer = setTimeout(() => silence.abort(), FIRST_EVENT_MS);
  try {
    const response = await client.open(`/job/${trackId}/events`, headers, AbortSignal.any([signal, silence.signal]));
    for await (const message of messages(response.body)) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      if (message.retry) place.retryMs = message.retry;
      if (message.id) place.id = message.id;
      if (message.name) yield { name: message.name, data: JSON.parse(message.data) };
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem({ code: "STREAM_BROKEN", detail: "The stream of events was interrupted." });
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Yields the messages of an event stream; a comment is a message without a name. */
export async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) yield parsed(block);
  }
}

function parsed(block) {
  const message = { name: "", data: "", id: "", retry: 0 };
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") message.name = value;
    else if (field === "data") message.data += (message.data && "\n") + value;
    else if (field === "id") message.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) message.retry = Number(value);
  }
  return message;
}

async function polled(client, trackId, signal) {
  try {
    return await client.get(`/job/${trackId}`, signal);
  } catch (error) {
    if (error instanceof Problem && !error.transient) throw error;
    return null;
  }
}

const backoff = (failures) => Math.min(LONGEST_WAIT_MS, 1000 * 2 ** (failures - 1)) * (0.75 + 0.5 * Math.random());

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
