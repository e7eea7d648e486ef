// Upload: sends a file directly to the object store, whole or in parts.

import { uploadInParts } from "./parts.js";
import { put } from "./store.js";

const MEBIBYTE = 1024 * 1024;
const WHOLE_BYTES = 16 * MEBIBYTE; // a larger file is worth being continued
const WHOLE_LIMIT_MB = 100; // proxies refuse larger requests: where larger files are accepted, they are sent in parts

/**
 * Uploads a file and returns its upload id; the signal stops it.
 *
 * `most` is the accepted size in MiB; `progress` is called with 0 to 1, and whether a request that failed is about to be repeated.
 */
export async function upload(client, file, most, progress, signal) {
  const description = { filename: file.name.slice(0, 255) || "file", size: file.size, content_type: typeOf(file) };
  // browsers compute digests only on pages that came by https, or from this machine
  const inParts = most > WHOLE_LIMIT_MB && file.size > WHOLE_BYTES && isSecureContext;
  if (inParts) return uploadInParts(client, file, description, progress, signal);
  const slot = await client.post("/uploads", description, signal);
  await put(slot, file, (sent) => progress(sent / file.size, false), signal);
  return slot.upload_id;
}

const typeOf = (file) => (/^(audio|video)\/[A-Za-z0-9][A-Za-z0-9.+-]*$/.test(file.type) ? file.type : "application/octet-stream");
