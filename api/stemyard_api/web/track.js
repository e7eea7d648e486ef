// Track: one track's card, from waiting to its player, updated by its events.

import { archiveButton } from "./archive.js";
import { Problem } from "./client.js";
import { el, say } from "./elements.js";
import { follow } from "./follow.js";
import { Player } from "./player.js";
import { problemBox } from "./problems.js";
import { Sharing } from "./sharing.js";
import { advice, clock, day, doing, encodingOf, nameOf, STAGES, stageOf, stemName, stemOrder, stretch, waiting } from "./words.js";

const TERMINAL = new Set(["Completed", "Failed", "Cancelled"]);

export class Track {
  #leave = new AbortController();
  #player = null;
  #archive = null;
  #shown = "";
  #candidatesRequested = false;

  /**
   * Callbacks of `page`: `shown()` once the card has its size, `changed()` when lists may have changed, `announce(text)` for screen readers, `problem(error)`
   * for authentication errors, `rename(text)` for the window's title, `edit(query)` to edit the query, `left()` after deletion.
   */
  constructor(root, client, page, mayChange) {
    Object.assign(this, { root, client, page, mayChange });
  }

  /** Shows a track until another is shown; `query` is the requested query and `listed` its entry in a list, if known. */
  async show(trackId, query = "", listed = {}) {
    this.close();
    this.#leave = new AbortController();
    Object.assign(this, { trackId, query, state: {}, candidates: null });
    this.#shown = "";
    this.#candidatesRequested = false;
    this.root.hidden = false;
    this.root.replaceChildren(...loading(listed, query));
    const { signal } = this.#leave;
    try {
      for await (const event of follow(this.client, trackId, signal)) {
        if (signal.aborted) return;
        this.#happened(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.#lost(error);
    }
  }

  /** Closes the track. */
  close() {
    this.#leave.abort();
    this.#end();
    this.root.hidden = true;
    this.root.style.minHeight = "";
    this.root.replaceChildren();
  }

  #end() {
    this.#player?.close();
    this.#archive?.close();
    this.#player = this.#archive = null;
  }

  #happened({ name, data }) {
    if (name === "snapshot") this.#update(data);
    else if (name === "end") data.status === "deleted" ? this.#gone() : this.#update(data);
    else if (!TERMINAL.has(data.phase)) {
      // events contain only changes; other fields stay, and the end has an event of its own
      this.#update({ ...this.state, phase: data.phase, progress: data.progress, step: data.step, reason: data.reason });
      if (name === "phase") this.#refresh();
    }
  }

  /** Reads fields that events do not contain, such as the title once it is known. */
  async #refresh() {
    const { signal } = this.#leave;
    try {
      const state = await this.client.get(`/job/${this.trackId}`, signal);
      if (!signal.aborted && this.state.status === "processing" && state.status === "processing") {
        this.#update({ ...state, progress: Math.max(state.progress, this.state.progress ?? 0) });
        this.page.changed();
      }
    } catch {
      // the next event or snapshot has them
    }
  }

  #update(state) {
    this.state = state;
    const view = state.status === "processing" ? "processing" : `${state.status} ${state.run}`;
    if (view !== this.#shown) {
      this.#shown = view;
      this.#end();
      if (this.state.run) this.root.style.minHeight = `${this.root.offsetHeight}px`; // what is below stays where it is
      this.root.replaceChildren(...this.#viewOf(state));
      this.page.shown();
      if (state.status !== "processing") this.page.changed();
    }
    say(this.title, nameOf(state, this.query));
    say(this.byline, [state.artist ?? state.channel, state.duration ? clock(state.duration) : null].filter(Boolean).join(" · "));
    if (state.status === "processing") this.#showProgress(state);
    this.#announce(state);
    if (state.phase !== "Pending" && state.phase !== "Fetching") this.#askCandidates();
  }

  #announce(state) {
    const name = nameOf(state, this.query);
    const part = state.status === "processing" ? `${Math.round(state.progress ?? 0)} % · ` : "";
    this.page.rename(`${part}${name}`);
    const announcements = { processing: doing(state), completed: `${name} is ready to play.`, failed: state.error };
    this.page.announce(announcements[state.status] ?? "");
  }

  // views

  #viewOf(state) {
    this.title = el("h1", {});
    this.byline = el("p.byline", {});
    this.more = el("div.more", {}, this.candidates);
    const sharing = state.status === "completed" && this.mayChange ? new Sharing(this.client, this.trackId) : null;
    const head = el("div.head", {}, el("div.names", {}, this.title, this.byline), sharing?.button);
    const body = { processing: () => this.#processing(state), completed: () => this.#completed(state), failed: () => this.#failed(state) };
    return [head, ...(sharing ? [sharing.root] : []), ...(body[state.status] ?? (() => []))(), this.more];
  }

  #processing(state) {
    this.line = el("p.doing", {});
    this.percent = el("span.percent", {});
    this.bar = el("div.fill", {});
    this.meter = el("div.meter", { role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, this.bar);
    this.why = el("p.note", {});
    this.stages = STAGES.map(([, label]) => el("li", {}, label));
    return [
      el("div.state", {}, this.line, this.percent),
      this.meter,
      el("ol.stages", { "aria-label": "Stages" }, ...this.stages),
      el("div.under.wait", {}, this.why, this.#action("Cancel", () => this.#cancel())),
      expected(state.stems ?? []),
    ];
  }

  #showProgress(state) {
    const progress = Math.round(state.progress ?? 0);
    say(this.line, doing(state));
    say(this.percent, `${progress} %`);
    this.bar.style.setProperty("--part", String((state.progress ?? 0) / 100));
    this.meter.setAttribute("aria-valuenow", String(progress));
    say(this.why, [waiting(state), place(state), eta(state)].filter(Boolean).join(" "));
    const current = stageOf(state);
    this.stages.forEach((stage, index) => {
      stage.classList.toggle("done", index < current);
      if (index === current) stage.setAttribute("aria-current", "step");
      else stage.removeAttribute("aria-current");
    });
  }

  #completed(state) {
    this.#archive = archiveButton(this.client, state);
    this.#player = new Player(state, this.#archive.button);
    const until = state.expires_at ? `Its links work until ${day(state.expires_at)}.` : "";
    const made = `${[encodingOf(state), state.model].filter(Boolean).join(", ")}, made in ${stretch(state.processing_time)}.`;
    return [this.#player.root, el("div.under.last", {}, el("p.note", {}, `${made} ${until}`), this.#deletion())];
  }

  #failed(state) {
    const cancelled = state.code === "CANCELLED";
    const helps = cancelled || state.retryable;
    const change = el("button.primary", { type: "button", onclick: () => this.page.edit(this.query || state.query) }, "Edit the request");
    const again = this.#action("Try again", () => this.#retry(), helps ? "primary" : "quiet");
    const actions = this.mayChange ? [helps ? null : change, again, this.#deletion()] : [];
    const box = el(
      cancelled ? "div.notice" : "div.notice.bad",
      {},
      el("p.what", {}, cancelled ? "It was cancelled." : state.error),
      el("p", {}, advice(state.code, state.retryable)),
      cancelled ? null : el("p.note", {}, "Code ", el("code", {}, state.code), " · id ", el("code", {}, state.track_id)),
    );
    return [box, el("div.actions", {}, ...actions)];
  }

  #lost(error) {
    if (error.status === 401) return this.page.problem(error);
    this.root.replaceChildren(problemBox(error));
    this.page.shown();
    this.page.announce(error.message);
  }

  #gone() {
    this.root.replaceChildren(el("p", {}, "This track was deleted."));
    this.page.announce("This track was deleted.");
    this.page.changed();
  }

  // search results

  async #askCandidates() {
    if (this.#candidatesRequested) return;
    this.#candidatesRequested = true;
    const { signal } = this.#leave;
    const results = await this.client.get(`/job/${this.trackId}/candidates`, signal).catch(() => null);
    if (signal.aborted || !results?.candidates.length) return;
    this.candidates = el(
      "details.candidates",
      {},
      el("summary", {}, `What the search found (${results.candidates.length})`),
      el("p.note", {}, `Searched for “${results.query}”`),
      el("ol", {}, ...results.candidates.map(candidate)),
    );
    this.more.replaceChildren(this.candidates);
  }

  // actions

  #action(label, act, kind = "quiet") {
    const button = el(`button.${kind}`, { type: "button" }, label);
    button.hidden = !this.mayChange;
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await act();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.more.replaceChildren(problemBox(error));
      } finally {
        button.disabled = false;
      }
    });
    return button;
  }

  async #cancel() {
    const answer = await this.client.post(`/job/${this.trackId}/cancel`);
    if (!answer.cancelled) this.more.replaceChildren(el("p.note", {}, "Others requested it too, so it continues for them."));
    say(this.line, "Cancelling");
    this.page.changed();
  }

  async #retry() {
    await this.client.post(`/job/${this.trackId}/retry`);
    this.page.changed();
    this.show(this.trackId, this.query);
  }

  #deletion() {
    let sure = false;
    const button = this.#action("Delete", async () => {
      if (!sure) {
        sure = true;
        say(button, "Delete for good?");
        setTimeout(() => ((sure = false), say(button, "Delete")), 5000);
        return;
      }
      await this.client.delete(`/job/${this.trackId}`);
      this.page.left();
    });
    return button;
  }
}

/** Returns what is known of a track before it is loaded; it takes the room that the track will probably need. */
function loading(listed, query) {
  const known = listed.track_id ? nameOf(listed, query) : query;
  const lanes = listed.status === "failed" ? [] : [expected(listed.stems ?? ["vocals", "instrumental"])];
  return [el("h1", {}, known || "Track"), el("p.loading", {}, "Looking for the track…"), ...lanes];
}

/** Returns the lanes of stems that are still being made, where the player's will be. */
function expected(stems) {
  const names = [...stems].sort((one, other) => stemOrder(one) - stemOrder(other));
  const lanes = names.map((stem) => el("div.lane.expected", { "data-stem": stem }, el("span.stem", {}, stemName(stem)), el("div.wave", {})));
  return el("div.lanes.coming", { "aria-hidden": "true" }, ...lanes);
}

function place(state) {
  return Number.isInteger(state.queue_position) ? `Number ${state.queue_position} in the queue.` : "";
}

function eta(state) {
  return Number.isFinite(state.eta_seconds) ? `About ${stretch(state.eta_seconds)} left.` : "";
}

function candidate(result) {
  const id = /^youtube:([\w-]{11})$/.exec(result.media_id)?.[1];
  const name = id
    ? el("a", { href: `https://www.youtube.com/watch?v=${id}`, rel: "noopener noreferrer", target: "_blank" }, result.title)
    : el("span", {}, result.title);
  const about = [result.channel, result.duration ? clock(result.duration) : null, result.reason].filter(Boolean).join(" · ");
  const mark = result.chosen ? el("span.badge", {}, "Chosen") : null;
  return el(result.chosen ? "li.chosen" : "li", {}, name, mark, el("span.note", {}, about));
}
