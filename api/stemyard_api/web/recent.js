// Recent: the tracks this key asked for, newest first.

import { at, el, say } from "./elements.js";
import { ago, nameOf } from "./words.js";

const PAGE = 10;
const CHIPS = { processing: "Under way", completed: "Ready", failed: "Failed" };

export class Recent {
  #shown = PAGE;
  #asked = 0;

  constructor(client) {
    this.client = client;
    this.queries = new Map();
    at("recent-more").addEventListener("click", () => {
      this.#shown += PAGE;
      this.refresh();
    });
  }

  /** What was asked for, where the list tells. */
  queryOf(trackId) {
    return this.queries.get(trackId) ?? "";
  }

  /** Marks the track that is open. */
  mark(trackId) {
    this.open = trackId;
    for (const link of at("recent-list").querySelectorAll("a")) {
      if (link.dataset.track === trackId) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** Reads the list again; keeps the old one where it cannot be had. */
  async refresh() {
    const asked = ++this.#asked;
    const page = await this.client.get(`/jobs?limit=${Math.min(200, this.#shown)}`).catch(() => null);
    if (!page || asked !== this.#asked) return; // an answer that was overtaken
    for (const job of page.jobs) this.queries.set(job.track_id, job.query);
    at("recent-list").replaceChildren(...page.jobs.map((job) => this.#item(job)));
    at("recent-empty").hidden = page.jobs.length > 0;
    at("recent-more").hidden = page.next_cursor === null || this.#shown >= 200;
    this.mark(this.open);
  }

  #item(job) {
    const cancelled = job.code === "CANCELLED";
    const chip = el(`span.chip-state.${job.status}`, {}, cancelled ? "Cancelled" : CHIPS[job.status]);
    const about = [job.artist ?? job.channel, ago(job.created_at)].filter(Boolean).join(" · ");
    const name = el("span.title", {});
    say(name, nameOf(job));
    const link = el("a", { href: `#/track/${encodeURIComponent(job.track_id)}` }, name, chip, el("span.note", {}, about));
    link.dataset.track = job.track_id;
    return el("li", {}, link);
  }
}
