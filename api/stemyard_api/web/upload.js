// Upload: sends a file straight to the object store, by the one PUT the API signs for it.

import { Problem } from "./client.js";

/** Uploads a file and returns its upload id; `progress` is called with 0 to 1, the signal breaks it off. */
export async function upload(client, file, progress, signal) {
  const described = { filename: file.name.slice(0, 255) || "file", size: file.size, content_type: typeOf(file) };
  const slot = await client.post("/uploads", described, signal);
  await put(slot, file, progress, signal);
  return slot.upload_id;
}

function put(slot, file, progress, signal) {
  // fetch cannot tell how much of a body has been sent
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", slot.url);
    for (const [name, value] of Object.entries(slot.headers)) {
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value); // the browser's own to set
    }
    request.upload.addEventListener("progress", (event) => progress(event.loaded / file.size));
    request.addEventListener("load", () => (request.status < 300 ? resolve() : reject(refused(request.status))));
    request.addEventListener("error", () => reject(blocked()));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

const typeOf = (file) => (/^[A-Za-z0-9][A-Za-z0-9.+-]*\/[A-Za-z0-9][A-Za-z0-9.+-]*$/.test(file.type) ? file.type : "application/octet-stream");

const refused = (status) =>
  new Problem({ code: "UPLOAD_REFUSED", status, detail: `The object store refused the file (status ${status}).` });

const blocked = () =>
  new Problem({ code: "UPLOAD_BLOCKED", detail: "The file could not be sent to the object store." });
