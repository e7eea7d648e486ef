// Session: stores the API key: in this tab by default, on the device only if the user chooses so, never in a request's URL.

const NAME = "stemyard.key";

export class Session {
  #key = sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? "";

  /** The key, or an empty string. */
  get key() {
    return this.#key;
  }

  /** Stores a key. */
  keep(key, remember) {
    this.forget();
    this.#key = key;
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
  }

  /** Removes the key from tab and device. */
  forget() {
    this.#key = "";
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
  }
}

/**
 * Returns the key in the address, `#key=<key>` or `#key=<key>&track=<id>`, and takes it out of the address; else an empty string.
 *
 * A fragment is not part of a request, so no server or proxy sees the key.
 */
export function takeKeyFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get("key");
  if (!key) return "";
  const track = fragment.get("track");
  history.replaceState(null, "", track ? `#/track/${encodeURIComponent(track)}` : location.pathname);
  return key;
}
