// Sharing: makes and withdraws the link that opens a track without a key.

import { Problem } from "./client.js";
import { copy, el, icon, say } from "./elements.js";
import { problemBox } from "./problems.js";
import { day } from "./words.js";

const UNKNOWN_ROUTE = new Set([404, 405]);

export class Sharing {
  /** `root` shows the link below; `button` makes it. */
  constructor(client, trackId) {
    Object.assign(this, { client, trackId });
    this.button = el("button.quiet", { type: "button", "aria-expanded": "false", onclick: () => this.#share() }, icon("share"), "Share");
    this.root = el("div.sharing", { role: "group", "aria-label": "Share link", hidden: true });
  }

  async #share() {
    if (!this.root.hidden) return this.#close();
    this.button.disabled = true;
    try {
      const share = await this.client.post(`/job/${this.trackId}/share`, {});
      this.#show(share);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#refused(error);
    } finally {
      this.button.disabled = false;
    }
  }

  #show(share) {
    const url = new URL(share.url, location.href).href;
    const field = el("input", { type: "text", readonly: true, value: url, "aria-label": "Link to share", onfocus: () => field.select() });
    const until = share.expires_at ? ` It works until ${day(share.expires_at)}.` : "";
    this.said = el("p.note", { role: "status" }, `Whoever has this link can listen and download, without a key.${until}`);
    const again = el("button.primary", { type: "button", onclick: () => this.#copy(url, again) }, "Copy the link");
    const withdraw = el("button.quiet", { type: "button", onclick: () => this.#withdraw(withdraw) }, "Withdraw all links");
    this.#open(el("div.row", {}, field, again), el("div.under", {}, this.said, withdraw));
    again.focus();
  }

  async #copy(url, button) {
    await copy(url, button);
    say(button, "Copied");
    setTimeout(() => say(button, "Copy the link"), 2000);
  }

  async #withdraw(button) {
    button.disabled = true;
    try {
      await this.client.delete(`/job/${this.trackId}/share`);
      this.#open(el("p.note", { role: "status" }, "No link to this track works any more."));
      this.button.focus();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      button.disabled = false;
      this.root.append(problemBox(error));
    }
  }

  #refused(error) {
    const absent = UNKNOWN_ROUTE.has(error.status) && error.code !== "TRACK_NOT_FOUND";
    this.#open(absent ? el("p.note", { role: "status" }, "This service makes no share links. Send the downloaded stems instead.") : problemBox(error));
  }

  #open(...children) {
    this.root.replaceChildren(...children);
    this.root.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
  }

  #close() {
    this.root.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }
}
