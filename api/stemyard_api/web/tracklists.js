// Track lists of the admin page: what runs, what waits and what failed, each with what can be done about it.

import { Problem } from "./client.js";
import { at, el, say } from "./elements.js";
import { Question } from "./question.js";
import { Rows } from "./rows.js";
import { ago, doing, nameOf, stretch, waiting } from "./words.js";

const HIGHEST = 100;

export class TrackLists {
  #question = new Question();
  #waiting = [];

  /** `maySubmit` is whether the key may cancel and retry; `changed()` is called after something was done. */
  constructor(client, { changed }) {
    Object.assign(this, { client, changed, maySubmit: false });
    at("refusal-close").addEventListener("click", () => (at("refusal").hidden = true));
    const rows = (id, make) => new Rows(at(id), (track) => track.track_id, make);
    this.lists = {
      running: rows("running-list", (track) => this.#running(track)),
      waiting: rows("waiting-list", (track) => this.#queued(track)),
      failed: rows("failed-list", (track) => this.#failed(track)),
    };
  }

  show(overview) {
    this.#waiting = overview.waiting_tracks;
    this.lists.running.show(overview.running_tracks);
    this.lists.waiting.show(overview.waiting_tracks);
    this.lists.failed.show(overview.failed_tracks);
    told("running", overview.running_tracks.length, overview.running, "Nothing is running.");
    told("waiting", overview.waiting_tracks.length, overview.waiting, "Nothing is waiting.");
    told("failed", overview.failed_tracks.length, overview.failed, "Nothing has failed.");
  }

  #running(track) {
    const row = this.#row(track, [this.#priority(), this.#cancel()]);
    const state = el("span.doing");
    const percent = el("span.percent");
    const fill = el("div.fill");
    const meter = el("div.meter", { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
    row.body.append(el("p.state", {}, state, percent), meter);
    return {
      node: row.node,
      update(now) {
        row.update(now, [by(now), `for ${stretch(Date.now() / 1000 - now.started_at)}`]);
        say(state, now.cancelling ? "Being cancelled" : [doing(now), waiting(now)].filter(Boolean).join(". "));
        say(percent, `${Math.floor(now.progress)} %`);
        fill.style.setProperty("--part", now.progress / 100);
        meter.setAttribute("aria-valuenow", Math.floor(now.progress));
        meter.setAttribute("aria-label", `Progress of ${nameOf(now)}`);
      },
    };
  }

  #queued(track) {
    const row = this.#row(track, [this.#priority(), this.#cancel()]);
    const state = el("p.note.why");
    row.body.append(state);
    return {
      node: row.node,
      update(now) {
        row.update(now, [by(now), now.priority ? `priority ${now.priority}` : "", ago(now.created_at)]);
        say(state, now.cancelling ? "Being cancelled" : `${doing(now)}. ${waiting(now)}`.trim());
      },
    };
  }

  #failed(track) {
    const row = this.#row(track, [this.#retry()]);
    const error = el("p.note.why");
    row.body.append(error);
    return {
      node: row.node,
      update(now) {
        row.update(now, [by(now), ago(now.ended_at)]);
        say(error, now.code === "CANCELLED" ? "Cancelled." : `${now.error} (${now.code})`);
      },
    };
  }

  /** Returns a row with a track's name, what tells it apart, and buttons. */
  #row(track, buttons) {
    const name = el("a.title", { href: `/#/track/${encodeURIComponent(track.track_id)}` });
    const about = el("p.note.about");
    const body = el("div.body");
    const foreign = el("p.note", {}, "Change it with kubectl.");
    const actions = el("div.row-actions", {}, ...buttons.map((each) => each.node), foreign);
    return {
      node: el("li", { "data-track": track.track_id }, name, about, body, actions),
      body,
      update(now, details) {
        say(name, nameOf(now));
        say(about, [`${now.namespace} / ${now.profile}`, ...details].filter(Boolean).join(" · "));
        about.title = about.textContent;
        foreign.hidden = now.changeable;
        for (const each of buttons) each.update(now);
      },
    };
  }

  #cancel() {
    return this.#button("Cancel", () => this.maySubmit, (track) =>
      this.#question.ask({
        title: `Cancel ${nameOf(track)}?`,
        text: `${whose(track)} It ends as cancelled; it can be retried afterwards.`,
        yes: "Cancel it",
        no: "Let it go on",
        danger: true,
        act: () => this.#do(track, `/job/${encodeURIComponent(track.track_id)}/cancel`, undefined, "is being cancelled"),
      }),
    );
  }

  #retry() {
    return this.#button("Retry", () => this.maySubmit, async (track, button) => {
      button.disabled = true;
      try {
        await this.#do(track, `/job/${encodeURIComponent(track.track_id)}/retry`, undefined, "is tried again");
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        say(at("refusal-text"), `${nameOf(track)} could not be retried: ${error.message} (${error.code})`);
        at("refusal").hidden = false;
      } finally {
        button.disabled = false;
      }
    });
  }

  #priority() {
    const offered = (track) => track.phase !== "Separating";
    return this.#button("Priority", offered, (track) => {
      const highest = Math.max(0, ...this.#waiting.map((each) => each.priority));
      this.#question.ask({
        title: `Priority of ${nameOf(track)}`,
        text: `Higher ones start first, equal ones by age. The highest that waits is ${highest}.`,
        yes: "Set priority",
        no: "Leave it",
        number: { label: `Priority, from -${HIGHEST} to ${HIGHEST}`, value: track.priority, min: -HIGHEST, max: HIGHEST },
        act: (priority) => this.#do(track, `/admin/job/${encodeURIComponent(track.track_id)}/priority`, { priority }, `has priority ${priority}`),
      });
    });
  }

  /** Returns a button that acts on the newest state of its track, and is shown where it is offered. */
  #button(label, offered, act) {
    let track = null;
    const node = el("button.quiet", { type: "button", onclick: () => act(track, node) }, label);
    return {
      node,
      update(now) {
        track = now;
        node.hidden = !now.changeable || now.cancelling || !offered(now);
        node.setAttribute("aria-label", `${label}: ${nameOf(now)}`);
      },
    };
  }

  async #do(track, path, body, outcome) {
    await this.client.post(path, body);
    at("refusal").hidden = true;
    say(at("says"), `${nameOf(track)} ${outcome}.`);
    this.changed();
  }
}

/** Says that a list is empty, or shows only a part. */
function told(name, shown, all, empty) {
  at(`${name}-empty`).hidden = shown > 0;
  say(at(`${name}-empty`), empty);
  say(at(`${name}-count`), all > shown ? `${shown.toLocaleString()} of ${all.toLocaleString()}` : all.toLocaleString());
}

const by = (track) => (track.key_ids.length ? track.key_ids.join(", ") : "kubectl");

function whose(track) {
  if (!track.key_ids.length) return "It was made with kubectl.";
  return track.key_ids.length === 1 ? `The key ${track.key_ids[0]} asked for it.` : `${track.key_ids.length} keys asked for it: ${track.key_ids.join(", ")}.`;
}
