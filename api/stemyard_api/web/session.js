// Session: where the API key is kept. In this tab by default, on the device only on the user's wish; never in a URL.

const NAME = "stemyard.key";

export class Session {
  #key = sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? "";

  /** The key, or an empty string. */
  get key() {
    return this.#key;
  }

  /** Whether the key outlives this tab. */
  get remembered() {
    return localStorage.getItem(NAME) !== null;
  }

  /** Keeps a key. */
  keep(key, remember) {
    this.forget();
    this.#key = key;
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
  }

  /** Forgets the key, wherever it is kept. */
  forget() {
    this.#key = "";
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
  }
}
