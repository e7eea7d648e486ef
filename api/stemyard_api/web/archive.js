// Archive: downloads all stems of a track as one ZIP file.

import { Problem } from "./client.js";
import { el, icon, say } from "./elements.js";
import { nameOf, size } from "./words.js";

/** Returns a link to an archive that needs no key. */
export const archiveLink = (url) => el("a.quiet", { href: url, download: "", rel: "noopener" }, icon("download"), "Download all (ZIP)");

/** Returns a button that downloads the archive of a track with the client's key, which a link could not send. */
export function archiveButton(client, state) {
  const label = el("span", {}, "Download all (ZIP)");
  const button = el("button.quiet", { type: "button" }, icon("download"), label);
  const leave = new AbortController();
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const response = await client.download(`/job/${state.track_id}/stems.zip`, leave.signal);
      save(await received(response, (text) => say(label, text)), fileName(response, state));
      say(label, "Download all (ZIP)");
    } catch (error) {
      if (leave.signal.aborted) return;
      say(label, reasonOf(error));
    } finally {
      button.disabled = false;
    }
  });
  return { button, close: () => leave.abort() };
}

function reasonOf(error) {
  if (!(error instanceof Problem)) return "The download was interrupted. Try again";
  return error.status === 404 || error.status === 405 ? "No ZIP here: download each stem" : `${error.message} Try again`;
}

async function received(response, progress) {
  const chunks = [];
  let bytes = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) return new Blob(chunks, { type: "application/zip" });
    chunks.push(value);
    bytes += value.length;
    progress(`Downloading, ${size(bytes)}`);
  }
}

function fileName(response, state) {
  const disposition = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(disposition)?.[1];
  const plain = /filename="([^"]+)"/i.exec(disposition)?.[1];
  if (encoded) return decodeURIComponent(encoded);
  return plain ?? `${nameOf(state)} (Stems).zip`;
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
