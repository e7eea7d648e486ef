/** Verification of webhooks for consumers (standardwebhooks.com), with Web Crypto. */

import { StemyardError } from "./errors.js";
import type { components } from "./schema.js";
import type { EventType } from "./types.js";

type Schemas = components["schemas"];
type Payload = Schemas["CompletedWebhook"] | Schemas["FailedWebhook"] | Schemas["ProcessingWebhook"] | Schemas["WebhookTest"];

/** Maximum difference between the timestamp of an attempt and the consumer's clock, in seconds. */
export const TOLERANCE_SECONDS = 300;
const PREFIX = "whsec_";
const VERSION = "v1,";

/** The webhook failed verification; the message says why. Answer 401, but for `replayed` 200. */
export class VerificationError extends StemyardError {
  declare readonly code: "missing_header" | "bad_signature" | "stale_timestamp" | "replayed" | "invalid_body";

  constructor(code: VerificationError["code"], message: string) {
    super(message, code);
    this.name = "VerificationError";
  }
}

/** The webhook secret is invalid; the message says what to change. */
export class SecretError extends StemyardError {
  constructor(message: string) {
    super(message, "invalid_secret");
    this.name = "SecretError";
  }
}

/** A verified webhook. */
export interface Webhook {
  /** Id shared by all copies of this message; use it to deduplicate. */
  readonly id: string;
  /** Type of the event; a later version of the service may send others. */
  readonly event: EventType | (string & {});
  /** Epoch seconds of the attempt. */
  readonly sentAt: number;
  readonly payload: Payload;
}

/** How to verify. */
export interface VerifyOptions {
  /** Returns whether an id was handled before. */
  seen?: (id: string) => boolean | Promise<boolean>;
  /** Epoch seconds; the system clock by default. */
  now?: number;
  /** Maximum age, or clock skew, of an attempt, in seconds. */
  tolerance?: number;
}

/** Headers of a request: those of fetch, of Node's http, or a plain object. */
export type GivenHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Returns the webhook of a request after verifying its signature and timestamp.
 *
 * `body` is exactly what was received, not re-serialised JSON. `secret` may be several during a rotation. Throws a
 * VerificationError or a SecretError. Signatures are compared by Web Crypto, in constant time.
 */
export async function verify(
  body: Uint8Array | string,
  headers: GivenHeaders,
  secret: string | readonly string[],
  options: VerifyOptions = {},
): Promise<Webhook> {
  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const id = required(headers, "webhook-id");
  const sentAt = timestamp(required(headers, "webhook-timestamp"));
  const offered = required(headers, "webhook-signature").split(" ").flatMap(signatureBytes);
  const secrets = typeof secret === "string" ? [secret] : secret;
  const signed = concatenated(new TextEncoder().encode(`${id}.${sentAt}.`), raw);
  if (!(await matchesAny(secrets, offered, signed))) {
    const hint = "check the secret, and verify the body's bytes as received";
    throw new VerificationError("bad_signature", `no signature matches: ${hint}`);
  }
  const tolerance = options.tolerance ?? TOLERANCE_SECONDS;
  const age = (options.now ?? Date.now() / 1000) - sentAt;
  if (!(Math.abs(age) <= tolerance)) {
    const found = `the message is ${age.toFixed(0)} s old, and ${tolerance} s are allowed`;
    throw new VerificationError("stale_timestamp", `${found}: check the clock`);
  }
  if (await options.seen?.(id)) {
    throw new VerificationError("replayed", `message ${id} was handled before: answer 200 and do nothing`);
  }
  return { id, sentAt, event: header(headers, "x-webhook-event"), payload: payloadOf(raw) };
}

async function matchesAny(
  secrets: readonly string[],
  offered: readonly Uint8Array<ArrayBuffer>[],
  signed: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  for (const secret of secrets) {
    const key = await subtle.importKey("raw", keyOf(secret), algorithm, false, ["verify"]);
    for (const signature of offered) {
      if (await subtle.verify(algorithm, key, signature, signed)) return true;
    }
  }
  return false;
}

/**
 * Returns the HMAC key of a secret: the base64 after `whsec_`, else its UTF-8 bytes.
 *
 * The base64 must have its padding (RFC 4648, section 4): consumers in Go and Rust read no other. Throws a SecretError.
 */
function keyOf(secret: string): Uint8Array<ArrayBuffer> {
  const text = secret.slice(PREFIX.length);
  const key = secret.startsWith(PREFIX) ? decoded(text) : new TextEncoder().encode(secret);
  if (key === undefined) {
    throw new SecretError("what follows whsec_ in the webhook secret is not base64 with its padding (=)");
  }
  if (key.length === 0) throw new SecretError("the webhook secret is empty");
  return key;
}

/** Returns the bytes of padded base64 without stray bits; undefined for anything else. */
function decoded(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined;
  const binary = atob(text);
  if (btoa(binary) !== text) return undefined;
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function signatureBytes(offered: string): Uint8Array<ArrayBuffer>[] {
  const bytes = offered.startsWith(VERSION) ? decoded(offered.slice(VERSION.length)) : undefined;
  return bytes === undefined ? [] : [bytes];
}

function payloadOf(raw: Uint8Array): Payload {
  try {
    return JSON.parse(new TextDecoder().decode(raw)) as Payload;
  } catch {
    throw new VerificationError("invalid_body", "the body is signed, but no JSON");
  }
}

function timestamp(text: string): number {
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new VerificationError("missing_header", "the header webhook-timestamp is not a number of seconds");
}

function required(headers: GivenHeaders, name: string): string {
  const value = header(headers, name);
  if (value) return value;
  throw new VerificationError("missing_header", `the header ${name} is missing`);
}

function header(headers: GivenHeaders, name: string): string {
  if (headers instanceof Headers) return headers.get(name) ?? "";
  const found = Object.entries(headers).find(([given]) => given.toLowerCase() === name)?.[1];
  return typeof found === "string" ? found : (found?.join(" ") ?? "");
}

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
