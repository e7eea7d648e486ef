// Streamed: plays stems as media elements, which need little memory and no CORS rules of the store, and keeps them in sync.

const CHECK_MS = 200;
const APART_SECONDS = 0.2;
const CLOSE_SECONDS = 0.01;
const STRONGEST_NUDGE = 0.04;

/** Creates an element for each stem, `urls` by name, and resolves when their durations are known. */
export async function stream(urls, signal) {
  const elements = new Map([...urls].map(([stem, url]) => [stem, opened(url)]));
  const engine = new Streamed(elements);
  signal.addEventListener("abort", () => engine.close(), { once: true });
  await Promise.all([...elements.values()].map((element) => loaded(element)));
  return engine;
}

function opened(url) {
  const element = new Audio();
  element.preload = "auto";
  element.preservesPitch = false;
  element.src = url;
  return element;
}

function loaded(element) {
  return new Promise((resolve, reject) => {
    if (element.readyState >= HTMLMediaElement.HAVE_METADATA) return resolve();
    element.addEventListener("loadedmetadata", resolve, { once: true });
    element.addEventListener("error", () => reject(new Error("a stem could not be loaded")), { once: true });
  });
}

class Streamed {
  #elements;
  #leader;
  #timer = 0;
  playing = false;
  onend = () => {};

  constructor(elements) {
    this.#elements = elements;
    this.#leader = [...elements.values()][0];
    this.#leader.addEventListener("ended", () => {
      this.pause();
      this.onend();
    });
  }

  /** Returns null: a media element does not expose its samples. */
  buffer() {
    return null;
  }

  get duration() {
    return this.#leader.duration;
  }

  get position() {
    return this.#leader.currentTime;
  }

  async play() {
    if (this.#leader.ended) this.seek(0);
    this.playing = true;
    this.#align();
    await Promise.all(this.#all((element) => element.play()));
    this.#timer = setInterval(() => this.#synchronise(), CHECK_MS);
  }

  pause() {
    this.playing = false;
    clearInterval(this.#timer);
    this.#all((element) => element.pause());
    this.#align();
  }

  seek(seconds) {
    this.#all((element) => (element.currentTime = Math.min(element.duration || 0, Math.max(0, seconds))));
  }

  /** Sets a stem's volume, 0 to 1. */
  setVolume(stem, volume) {
    const element = this.#elements.get(stem);
    element.volume = volume;
    element.muted = volume === 0; // phones support only this
  }

  close() {
    this.playing = false;
    clearInterval(this.#timer);
    this.#all((element) => {
      element.pause();
      element.removeAttribute("src");
      element.load();
    });
  }

  #all(act) {
    return [...this.#elements.values()].map(act);
  }

  #align() {
    this.#all((element) => {
      element.playbackRate = 1;
      if (element !== this.#leader) element.currentTime = this.#leader.currentTime;
    });
  }

  /** Slows elements that are ahead slightly, and pauses all while one is loading. */
  #synchronise() {
    const ready = this.#all((element) => element.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA || element.ended);
    if (!ready.every(Boolean)) {
      this.#all((element) => element.pause());
      return;
    }
    if (this.#leader.paused) {
      this.#align();
      this.#all((element) => element.play().catch(() => {}));
    }
    for (const element of this.#elements.values()) this.#nudge(element);
  }

  #nudge(element) {
    const ahead = element.currentTime - this.#leader.currentTime;
    if (element === this.#leader || element.ended) return;
    if (Math.abs(ahead) > APART_SECONDS) element.currentTime = this.#leader.currentTime;
    const nudge = Math.abs(ahead) < CLOSE_SECONDS ? 0 : Math.max(-STRONGEST_NUDGE, Math.min(STRONGEST_NUDGE, ahead));
    element.playbackRate = 1 - nudge;
  }
}
