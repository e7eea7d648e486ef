// Recent: the tracks that this key requested, newest first, with search and deletion.

import { Problem } from "./client.js";
import { at, el, icon, say } from "./elements.js";
import { ago, encodingOf, nameOf } from "./words.js";

const PAGE = 10;
const MOST = 200;
const SEARCHED_PAGES = 5;
const TYPING_MS = 200;
const SURE_MS = 5000;
const CHIPS = { processing: "Under way", completed: "Ready", failed: "Failed" };

export class Recent {
  /** Whether the key may list tracks. */
  offered = false;
  /** Whether the key may delete tracks. */
  mayDelete = false;
  #shown = PAGE;
  #requests = 0;
  #entries = new Map();
  #sure = "";

  /** `deleted(trackId)` is called after a deletion. */
  constructor(client, { deleted }) {
    Object.assign(this, { client, deleted });
    this.queries = new Map();
    at("recent-more").addEventListener("click", () => {
      this.#shown += PAGE;
      this.refresh();
    });
    let typing = 0;
    at("recent-search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.refresh(), TYPING_MS);
    });
  }

  /** Returns the entry of a listed track, or nothing. */
  entryOf(trackId) {
    return this.#entries.get(trackId);
  }

  /** Returns the query of a listed track, or an empty string. */
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

  /** Reloads the list; keeps the old one on failure. */
  async refresh() {
    const request = ++this.#requests;
    const words = wordsOf(at("recent-search").value);
    const found = await (words.length ? this.#search(words) : this.#newest()).catch(() => null);
    if (!found || request !== this.#requests) return; // superseded by a newer request
    this.#entries = new Map(found.jobs.map((job) => [job.track_id, job]));
    for (const job of found.jobs) this.queries.set(job.track_id, job.query);
    this.#show(found.jobs);
    at("recent-more").hidden = !found.more;
    say(at("recent-empty"), found.jobs.length ? "" : words.length ? "No track matches." : "Your tracks appear here.");
  }

  async #newest() {
    const page = await this.client.get(`/jobs?limit=${Math.min(MOST, this.#shown)}`);
    return { jobs: page.jobs, more: page.next_cursor !== null && this.#shown < MOST };
  }

  /** Searches the newest thousand tracks. */
  async #search(words) {
    const jobs = [];
    let cursor = "";
    for (let read = 0; read < SEARCHED_PAGES && cursor !== null; read++) {
      const page = await this.client.get(`/jobs?limit=${MOST}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      jobs.push(...page.jobs.filter((job) => matches(job, words)));
      cursor = page.next_cursor;
    }
    return { jobs: jobs.slice(0, MOST), more: false };
  }

  #show(jobs) {
    const { track, delete: deletes } = document.activeElement?.closest("#recent-list [data-track]")?.dataset ?? {};
    at("recent-list").replaceChildren(...jobs.map((job) => this.#item(job)));
    this.mark(this.open);
    const focused = [...at("recent-list").querySelectorAll("[data-track]")].find((each) => each.dataset.track === track && each.dataset.delete === deletes);
    focused?.focus({ preventScroll: true });
  }

  #item(job) {
    const cancelled = job.code === "CANCELLED";
    const chip = el(`span.chip-state.${job.status}`, {}, cancelled ? "Cancelled" : CHIPS[job.status]);
    const made = new Date(job.created_at * 1000);
    const time = el("time", { datetime: made.toISOString(), title: made.toLocaleString() }, ago(job.created_at));
    const about = [job.artist ?? job.channel, encodingOf(job), job.model].filter(Boolean).map((each) => el("span", {}, each)); // who, how, when: what tells repeats apart
    const link = el(
      "a",
      { href: `#/track/${encodeURIComponent(job.track_id)}`, "data-track": job.track_id },
      el("span.title", {}, nameOf(job)),
      chip,
      el("span.note", {}, ...spaced([...about, time])),
    );
    return el("li", {}, link, this.mayDelete ? this.#deletion(job) : null);
  }

  #deletion(job) {
    const sure = this.#sure === job.track_id;
    const label = (asks) => (asks ? `Delete ${nameOf(job)} for good?` : `Delete ${nameOf(job)}`);
    const button = el("button.tool", { type: "button", "data-track": job.track_id, "data-delete": "", "aria-label": label(sure), title: label(sure) }, sure ? "Delete?" : icon("delete"));
    button.classList.toggle("sure", sure);
    button.addEventListener("click", () => (this.#sure === job.track_id ? this.#delete(job, button) : this.#ask(job)));
    return button;
  }

  /** Asks for a second click; the question is withdrawn after some seconds. */
  #ask(job) {
    this.#sure = job.track_id;
    this.#replace(job);
    setTimeout(() => {
      if (this.#sure !== job.track_id) return;
      this.#sure = "";
      this.#replace(job);
    }, SURE_MS);
  }

  #replace(job) {
    for (const button of at("recent-list").querySelectorAll("[data-delete]")) {
      if (button.dataset.track !== job.track_id) continue;
      const focused = button === document.activeElement;
      const next = this.#deletion(job);
      button.replaceWith(next);
      if (focused) next.focus();
    }
  }

  async #delete(job, button) {
    this.#sure = "";
    button.disabled = true;
    try {
      await this.client.delete(`/job/${encodeURIComponent(job.track_id)}`);
      button.closest("li").remove();
      say(at("says"), `${nameOf(job)} was deleted.`);
      at("recent-search").focus();
      this.deleted(job.track_id);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      say(at("recent-empty"), error.message);
    }
    this.refresh();
  }
}

/** Returns the elements with spaces between them, where lines may break. */
const spaced = (elements) => elements.flatMap((each, index) => (index ? [" ", each] : [each]));

const wordsOf = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

function matches(job, words) {
  const text = [nameOf(job), job.query, job.artist, job.channel, job.model, encodingOf(job)].filter(Boolean).join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}
