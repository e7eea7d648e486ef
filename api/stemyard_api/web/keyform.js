// Key form: asks for an API key, and says where one comes from.

import { at, el, say } from "./elements.js";
import { takeKeyFromAddress } from "./session.js";
import { advice } from "./words.js";

const { contact, docs } = document.body.dataset;

export class KeyForm {
  /** `entered()` is called when a key was entered, `kept()` when the visitor keeps the present one. */
  constructor(session, { entered, kept }) {
    Object.assign(this, { session, entered });
    at("key-ask").append(...source());
    at("key-keep").addEventListener("click", kept);
    at("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Shows the form; `problem` refused the last key, `track` is whether the address names a track. */
  ask({ problem = null, track = false } = {}) {
    this.#show(track ? "This track opens with an API key" : "You need an API key");
    say(at("key-track"), track ? "Or ask whoever sent you here for a share link, which needs no key." : "");
    say(at("key-problem"), problem ? `This key was not accepted. ${advice("UNAUTHENTICATED")}` : "");
    at("key-input").focus();
  }

  /**
   * Fills in a key that the address contains, and returns whether there was one that is not in use.
   *
   * It is not used until the visitor says so: whoever sends a link with a key of their own sees what is requested with it.
   */
  offerFromAddress() {
    const key = takeKeyFromAddress();
    if (!key || key === this.session.key) return false;
    this.#show("This link brings an API key");
    say(at("key-track"), "Use it if you trust who sent it: whoever has the key sees what you separate with it.");
    at("key-input").value = key;
    say(at("key-problem"), "");
    at("key-form").querySelector("[type=submit]").focus();
    return true;
  }

  hide() {
    at("key").hidden = true;
    at("key-input").value = "";
    say(at("key-problem"), "");
  }

  #show(title) {
    say(at("key-title"), title);
    at("key-keep").hidden = !this.session.key;
    at("key").hidden = false;
  }

  #submit() {
    const key = at("key-input").value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) return say(at("key-problem"), "A key has no spaces and only plain characters.");
    this.session.keep(key, at("key-remember").checked);
    at("key-input").value = "";
    this.entered();
  }
}

function source() {
  const reading = el("a", { href: docs, rel: "noopener noreferrer", target: "_blank" }, "How to get a key");
  if (!contact) return ["No key yet? Ask whoever runs this service. ", reading];
  const url = new URL(contact);
  const name = url.protocol === "mailto:" ? decodeURIComponent(url.pathname) : url.host + url.pathname.replace(/\/$/, "");
  return ["No key yet? Ask ", el("a", { href: contact, rel: "noopener noreferrer" }, name), ". ", reading];
}
