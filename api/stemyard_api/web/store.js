// Store: sends bytes directly to the object store with a PUT that the API signed.

import { Problem } from "./client.js";

const STALLED_MS = 60_000;

/** Sends a file or a part of one; `sent` is called with the number of bytes sent so far, the signal aborts it. */
export function put(link, content, sent, signal) {
  // fetch does not report upload progress
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    let timer = 0;
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(() => reject(blocked()) || request.abort(), STALLED_MS);
    };
    request.open("PUT", link.url);
    for (const [name, value] of Object.entries(link.headers)) {
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value); // set by the browser
    }
    request.upload.addEventListener("progress", (event) => {
      moved();
      sent(event.loaded);
    });
    request.addEventListener("load", () => (request.status < 300 ? resolve() : reject(refused(request.status))));
    request.addEventListener("error", () => reject(blocked()));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    request.addEventListener("loadend", () => clearTimeout(timer));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    moved();
    request.send(content);
  });
}

const refused = (status) =>
  new Problem({ code: "UPLOAD_REFUSED", status, detail: `The object store refused the file (status ${status}).` });

const blocked = () =>
  new Problem({ code: "UPLOAD_BLOCKED", detail: "The file could not be sent to the object store." });
