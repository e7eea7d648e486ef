// Upload: sends a file directly to the object store with the PUT that the API signed.

import { Problem } from "./client.js";

/** Uploads a file and returns its upload id; `progress` is called with 0 to 1, the signal aborts it. */
export async function upload(client, file, progress, signal) {
  const description = { filename: file.name.slice(0, 255) || "file", size: file.size, content_type: typeOf(file) };
  const slot = await client.post("/uploads", description, signal);
  await put(slot, file, progress, signal);
  return slot.upload_id;
}

function put(slot, file, progress, signal) {
  // fetch does not report upload progress
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", slot.url);
    for (const [name, value] of Object.entries(slot.headers)) {
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value); // set by the browser
    }
    request.upload.addEventListener("progress", (event) => progress(event.loaded / file.size));
    request.addEventListener("load", () => (request.status < 300 ? resolve() : reject(refused(request.status))));
    request.addEventListener("error", () => reject(blocked()));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

const typeOf = (file) => (/^(audio|video)\/[A-Za-z0-9][A-Za-z0-9.+-]*$/.test(file.type) ? file.type : "application/octet-stream");

const refused = (status) =>
  new Problem({ code: "UPLOAD_REFUSED", status, detail: `The object store refused the file (status ${status}).` });

const blocked = () =>
  new Problem({ code: "UPLOAD_BLOCKED", detail: "The file could not be sent to the object store." });
