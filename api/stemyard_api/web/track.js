// Track: one track's card, from waiting to its player, kept up to date by its events.

import { Problem } from "./client.js";
import { el, say } from "./elements.js";
import { follow } from "./follow.js";
import { copy, Player } from "./player.js";
import { problemBox } from "./problems.js";
import { advice, clock, doing, nameOf, stretch, waiting } from "./words.js";

const TERMINAL = new Set(["Completed", "Failed", "Cancelled"]);
const STAGES = [
  ["Fetching", "Get the audio"],
  ["Queued", "Wait for a worker"],
  ["Separating", "Separate"],
  ["Completed", "Listen"],
];

export class Track {
  #leave = new AbortController();
  #player = null;
  #shown = "";
  #candidatesAsked = false;

  /**
   * `page` is told what happens: `changed()` when lists may have, `announce(text)` for screen readers,
   * `problem(error)` for what concerns the whole page, `rename(text)` for the window's title, `edit(query)` to ask differently, `left()` when it was deleted.
   */
  constructor(root, client, page, mayChange) {
    Object.assign(this, { root, client, page, mayChange });
  }

  /** Shows a track until another is shown; `query` is what was asked for, where that is known. */
  async show(trackId, query = "") {
    this.close();
    this.#leave = new AbortController();
    Object.assign(this, { trackId, query, state: {}, candidates: null });
    this.#shown = "";
    this.#candidatesAsked = false;
    this.root.hidden = false;
    this.root.replaceChildren(el("p.loading", {}, "Looking for the track…"));
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

  /** Leaves the track. */
  close() {
    this.#leave.abort();
    this.#player?.close();
    this.#player = null;
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  #happened({ name, data }) {
    if (name === "snapshot") this.#update(data);
    else if (name === "end") data.status === "deleted" ? this.#gone() : this.#update(data);
    else if (!TERMINAL.has(data.phase)) {
      // events tell what changed; what they leave out stays, and an end comes with an event of its own
      this.#update({ ...this.state, phase: data.phase, progress: data.progress, step: data.step, reason: data.reason });
      if (name === "phase") this.#refresh();
    }
  }

  /** Asks for what events do not tell, such as the title once it is known. */
  async #refresh() {
    const { signal } = this.#leave;
    try {
      const state = await this.client.get(`/job/${this.trackId}`, signal);
      if (!signal.aborted && this.state.status === "processing" && state.status === "processing") {
        this.#update({ ...state, progress: Math.max(state.progress, this.state.progress ?? 0) });
        this.page.changed();
      }
    } catch {
      // the next event or snapshot tells
    }
  }

  #update(state) {
    this.state = state;
    const face = state.status === "processing" ? "processing" : `${state.status} ${state.run}`;
    if (face !== this.#shown) {
      this.#shown = face;
      this.#player?.close();
      this.#player = null;
      this.root.replaceChildren(...this.#faceOf(state));
      if (state.status !== "processing") this.page.changed();
    }
    say(this.title, nameOf(state, this.query));
    say(this.byline, [state.artist ?? state.channel, state.duration ? clock(state.duration) : null].filter(Boolean).join(" · "));
    if (state.status === "processing") this.#showProgress(state);
    this.#tell(state);
    if (state.phase !== "Pending" && state.phase !== "Fetching") this.#askCandidates();
  }

  #tell(state) {
    const name = nameOf(state, this.query);
    const part = state.status === "processing" ? `${Math.round(state.progress ?? 0)} % · ` : "";
    this.page.rename(`${part}${name}`);
    const heard = { processing: doing(state), completed: `${name} is ready to play.`, failed: state.error };
    this.page.announce(heard[state.status] ?? "");
  }

  // the faces of the card

  #faceOf(state) {
    this.title = el("h2", {});
    this.byline = el("p.byline", {});
    this.more = el("div", {}, this.candidates);
    const head = el("div.head", {}, el("div.names", {}, this.title, this.byline), this.#copyPage());
    const body = { processing: () => this.#processing(), completed: () => this.#completed(state), failed: () => this.#failed(state) };
    return [head, ...(body[state.status] ?? (() => []))(), this.more];
  }

  #processing() {
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
      el("div.under", {}, this.why, this.#action("Cancel", () => this.#cancel())),
    ];
  }

  #showProgress(state) {
    const progress = Math.round(state.progress ?? 0);
    say(this.line, doing(state));
    say(this.percent, `${progress} %`);
    this.bar.style.setProperty("--part", String((state.progress ?? 0) / 100));
    this.meter.setAttribute("aria-valuenow", String(progress));
    say(this.why, [waiting(state), place(state), eta(state)].filter(Boolean).join(" "));
    const current = STAGES.findIndex(([phase]) => phase === state.phase);
    this.stages.forEach((stage, index) => {
      stage.classList.toggle("done", index < current);
      if (index === current) stage.setAttribute("aria-current", "step");
      else stage.removeAttribute("aria-current");
    });
  }

  #completed(state) {
    this.#player = new Player(state);
    const until = state.expires_at ? `Links work until ${new Date(state.expires_at * 1000).toLocaleDateString(undefined, { dateStyle: "long" })}.` : "";
    const made = `Made with ${state.model} in ${stretch(state.processing_time)}.`;
    return [this.#player.root, el("div.under.last", {}, el("p.note", {}, `${made} ${until}`), this.#deletion())];
  }

  #failed(state) {
    const cancelled = state.code === "CANCELLED";
    const helps = cancelled || state.retryable;
    const change = el("button.primary", { type: "button", onclick: () => this.page.edit(this.query || state.query) }, "Ask for something else");
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
    this.page.announce(error.message);
  }

  #gone() {
    this.root.replaceChildren(el("p", {}, "This track was deleted."));
    this.page.announce("This track was deleted.");
    this.page.changed();
  }

  // what a search found

  async #askCandidates() {
    if (this.#candidatesAsked) return;
    this.#candidatesAsked = true;
    const { signal } = this.#leave;
    const found = await this.client.get(`/job/${this.trackId}/candidates`, signal).catch(() => null);
    if (signal.aborted || !found?.candidates.length) return;
    this.candidates = el(
      "details.candidates",
      {},
      el("summary", {}, `What the search for “${found.query}” found (${found.candidates.length})`),
      el("ol", {}, ...found.candidates.map(candidate)),
    );
    this.more.replaceChildren(this.candidates);
  }

  // what can be done

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
    if (!answer.cancelled) this.more.replaceChildren(el("p.note", {}, "Others asked for it too, so it goes on for them."));
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

  #copyPage() {
    const button = el("button.quiet", { type: "button" }, "Copy link to this page");
    button.addEventListener("click", async () => {
      await copy(location.href, button);
      say(button, "Copied");
      setTimeout(() => say(button, "Copy link to this page"), 2000);
    });
    return button;
  }
}

function place(state) {
  return Number.isInteger(state.queue_position) ? `Number ${state.queue_position} in the queue.` : "";
}

function eta(state) {
  return Number.isFinite(state.eta_seconds) ? `About ${stretch(state.eta_seconds)} left.` : "";
}

function candidate(found) {
  const id = /^youtube:([\w-]{11})$/.exec(found.media_id)?.[1];
  const name = id
    ? el("a", { href: `https://www.youtube.com/watch?v=${id}`, rel: "noopener noreferrer", target: "_blank" }, found.title)
    : el("span", {}, found.title);
  const about = [found.channel, found.duration ? clock(found.duration) : null].filter(Boolean).join(" · ");
  const mark = found.chosen ? el("span.badge", {}, "Chosen") : null;
  return el(found.chosen ? "li.chosen" : "li", {}, name, mark, el("span.note", {}, about));
}
