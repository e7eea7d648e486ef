// Dashboard: the numbers of the admin page, brought in step with each overview.

import { at, el, say } from "./elements.js";
import { Rows } from "./rows.js";
import { stretch } from "./words.js";

const TOTALS = ["waiting", "running", "suspended", "completed", "failed"];

export class Dashboard {
  #queue = new Rows(at("queue-rows"), (row) => `${row.namespace}/${row.profile}`, () => tableRow(["waiting", "running"], ["suspended"]));
  #usage = new Rows(at("usage-rows"), (row) => row.key_id, () => tableRow(["tracks"], ["processing", "completed", "failed"], ["audio", "work"]));
  #codes = new Rows(at("codes-list"), (row) => row.code, codeRow);
  #hours = new Rows(at("hours-list"), (hour) => hour.start, hourBar);

  show(overview) {
    for (const name of TOTALS) say(at(`total-${name}`), overview[name].toLocaleString());
    this.#queue.show(overview.queue.map(placeRow));
    at("queue-empty").hidden = overview.queue.length > 0;
    this.#usage.show(overview.usage.map(keyRow));
    at("usage-empty").hidden = overview.usage.length > 0;
    const most = Math.max(1, ...overview.failures.map((row) => row.tracks));
    this.#codes.show(overview.failures.map((row) => ({ ...row, part: row.tracks / most })));
    at("codes-empty").hidden = overview.failures.length > 0;
    this.#showHours(overview.hours);
  }

  #showHours(hours) {
    const most = Math.max(1, ...hours.map((hour) => hour.completed + hour.failed));
    this.#hours.show(hours.map((hour) => ({ ...hour, most })));
    const completed = hours.map((hour) => hour.completed);
    const peak = Math.max(...completed);
    say(at("hours-now"), `${completed.at(-1).toLocaleString()} so far in this hour; at most ${peak.toLocaleString()} in an hour.`);
  }
}

const placeRow = (row) => ({ ...row, name: `${row.namespace} / ${row.profile}`, rest: row.suspended ? `${row.suspended.toLocaleString()} suspended` : "" });

const keyRow = (row) => ({
  ...row,
  name: row.key_id,
  audio: stretch(row.audio_seconds),
  work: stretch(row.processing_seconds),
  rest: `${row.processing.toLocaleString()} under way, ${row.completed.toLocaleString()} completed, ${row.failed.toLocaleString()} failed`,
});

/** Returns a row of a table: a name, then numbers. Where there is no room, `rest` says the `roomy` ones in words. */
function tableRow(first, roomy, last = []) {
  const name = el("span");
  const rest = el("span.note.narrow");
  const cell = (kind) => (field) => [field, el(kind)];
  const cells = new Map([...first.map(cell("td.number")), ...roomy.map(cell("td.number.roomy")), ...last.map(cell("td.number"))]);
  return {
    node: el("tr", {}, el("th", { scope: "row" }, name, rest), ...cells.values()),
    update(row) {
      say(name, row.name);
      say(rest, row.rest);
      for (const [field, node] of cells) say(node, row[field].toLocaleString());
    },
  };
}

function codeRow(row) {
  const count = el("span.number");
  const fill = el("div.fill");
  const node = el("li", {}, el("code", {}, row.code), count, el("div.meter", { "aria-hidden": "true" }, fill));
  return {
    node,
    update(now) {
      say(count, now.tracks.toLocaleString());
      fill.style.setProperty("--part", now.part);
    },
  };
}

/** Returns the bar of an hour; what it shows is also said in words. */
function hourBar(hour) {
  const start = new Date(hour.start * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const words = el("span.hidden");
  const node = el("li", {}, el("span.bar.bad", { "aria-hidden": "true" }), el("span.bar", { "aria-hidden": "true" }), el("span.hour", { "aria-hidden": "true" }, start), words);
  return {
    node,
    update(now) {
      const text = `${start}: ${now.completed.toLocaleString()} completed, ${now.failed.toLocaleString()} failed`;
      say(words, text);
      if (node.title !== text) node.title = text;
      node.style.setProperty("--completed", now.completed / now.most);
      node.style.setProperty("--failed", now.failed / now.most);
    },
  };
}
