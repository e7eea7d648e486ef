// Problems: shows an error with its code and what to change.

import { el } from "./elements.js";
import { advice, stretch } from "./words.js";

/** Returns a box that shows a Problem, with a countdown if it has a retry time. */
export function problemBox(error) {
  const fields = error.fields.map((each) => el("li", {}, `${each.field}: ${each.message}`));
  const wait = el("p", {});
  const box = el(
    "div.notice.bad",
    {},
    el("p.what", { role: "alert" }, error.message), // not the whole box, which would be announced every second
    fields.length > 1 ? el("ul", {}, ...fields) : null,
    el("p", {}, advice(error.code, error.transient)),
    wait,
    el("p.note", {}, "Code ", el("code", {}, error.code), error.requestId ? " · request " : null, error.requestId ? el("code", {}, error.requestId) : null),
  );
  if (error.retryAfter !== null) countDown(wait, error.retryAfter);
  return box;
}

function countDown(line, seconds) {
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    line.textContent = left > 0 ? `You can try again in ${stretch(left)}.` : "You can try again now.";
    if (left > 0 && (line.isConnected || Date.now() - end + seconds * 1000 < 2000)) setTimeout(tick, 1000);
  };
  tick();
}
