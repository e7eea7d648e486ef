import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamError, EventStreamParser } from "../dist/event_stream.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const STREAM = bytes(
  "retry: 1500\nid: 5-0\nevent: snapshot\ndata: {}\n\n: beat\n\n" +
    "event: progress\r\nid:6-0\r\ndata:one\r\ndata: two\r\n\r\ndata: mêlée\n\n",
);
const EVENTS = [
  { name: "snapshot", data: "{}" },
  { name: "progress", data: "one\ntwo" },
  { name: "message", data: "mêlée" },
];

test("events are the same wherever the bytes are cut", () => {
  for (let first = 0; first <= STREAM.length; first++) {
    for (const second of [first, first + 1, STREAM.length]) {
      const parser = new EventStreamParser();
      const pieces = [STREAM.subarray(0, first), STREAM.subarray(first, second), STREAM.subarray(second)];
      assert.deepEqual(pieces.flatMap((piece) => [...parser.feed(piece)]), EVENTS);
      assert.deepEqual([parser.lastId, parser.retrySeconds], ["6-0", 1.5]);
    }
  }
});

test("what was begun is forgotten with the connection", () => {
  const parser = new EventStreamParser();
  assert.deepEqual([...parser.feed(bytes("id: 1\nevent: end\ndata: half\u00e9").subarray(0, -1))], []);
  parser.restart();
  assert.deepEqual([...parser.feed(bytes("data: whole\n\n"))], [{ name: "message", data: "whole" }]);
  assert.equal(parser.lastId, "1");
});

test("fields without meaning are ignored", () => {
  const parser = new EventStreamParser();
  const fields = bytes("retry: soon\nid: a\0b\nid: \u00e9\nstrange: x\nevent: lost\n\ndata: x\n\n");
  assert.deepEqual([...parser.feed(fields)], [{ name: "message", data: "x" }]);
  assert.deepEqual([parser.lastId, parser.retrySeconds], [undefined, 3]);
});

test("no server asks for a pause without end", () => {
  const parser = new EventStreamParser();
  for (const digits of ["99999999", "9".repeat(5000)]) {
    assert.deepEqual([...parser.feed(bytes(`retry: ${digits}\n\n`))], []);
    assert.equal(parser.retrySeconds, 60);
  }
});

test("an event without end is refused", () => {
  const line = bytes("x".repeat(8 << 20));
  const parser = new EventStreamParser();
  assert.deepEqual([...parser.feed(line)], []);
  assert.throws(() => [...parser.feed(bytes("x"))], EventStreamError);
  const lines = new EventStreamParser();
  assert.throws(() => [...lines.feed(bytes(`data: ${"x".repeat(4 << 20)}\n`.repeat(2) + "data: x"))], EventStreamError);
});
