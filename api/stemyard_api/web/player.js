// Player: plays the stems of a completed track in sync: play, seek, volume, mute, solo, download.

import { decode, fits } from "./decoded.js";
import { copy, el, icon, say } from "./elements.js";
import { MediaControls } from "./mediasession.js";
import { stream } from "./streamed.js";
import { bars, levelsOfAudio, levelsOfPeaks } from "./waveform.js";
import { clock, nameOf, stemName, stemOrder } from "./words.js";

const SKIP_SECONDS = 5;
const BAR_PIXELS = 4;

export class Player {
  #ended = new AbortController();
  #engine = null;
  #loading = null;
  #frame = 0;
  #lanes = new Map();

  /** `state` is the state of a completed track; `archive` is an element that downloads all its stems. */
  constructor(state, archive) {
    Object.assign(this, { state, archive });
    this.urls = linksOf(state);
    this.duration = state.duration ?? 0;
    this.root = this.#build();
    this.controls = this.#systemControls();
    document.addEventListener("keydown", (event) => this.#key(event), { signal: this.#ended.signal });
    this.#draw();
    if (!navigator.connection?.saveData) this.#load().catch(() => {});
  }

  /** Replaces the links to the stems, which expire. */
  renew(state) {
    this.urls = linksOf(state);
    for (const [stem, { link }] of this.#lanes) link.href = this.urls.get(stem);
  }

  /** Stops, and releases audio and network. */
  close() {
    this.#ended.abort();
    cancelAnimationFrame(this.#frame);
    this.#engine?.close();
    this.controls.close();
  }

  #systemControls() {
    const actions = {
      play: () => this.#engine?.playing || this.toggle(),
      pause: () => this.#engine?.playing && this.toggle(),
      seekTo: (seconds) => this.#seekTo(seconds / this.duration),
      skip: (seconds) => this.#skip(seconds),
    };
    const described = { title: nameOf(this.state), artist: this.state.artist ?? this.state.channel ?? "" };
    return new MediaControls(described, actions, SKIP_SECONDS);
  }

  // elements

  #build() {
    this.button = el("button.play", { type: "button", "aria-label": "Play", onclick: () => this.toggle() }, icon("play"));
    this.now = el("span.now", {}, clock(0));
    this.total = el("span.total", {}, clock(this.duration));
    this.seeker = el("input.seek", { type: "range", min: 0, max: 1000, step: 1, value: 0, "aria-label": "Position", oninput: () => this.#seekTo(this.seeker.value / 1000) });
    this.note = el("p.note", { role: "status" });
    this.waves = el("div.lanes", {}, ...[...this.urls.keys()].map((stem) => this.#lane(stem)));
    const mixes = this.urls.has("vocals") && this.urls.size > 1 ? this.#mixes() : null;
    const root = el(
      "div.player",
      { role: "group", "aria-label": "Player" },
      el("div.transport", {}, this.button, this.now, this.seeker, this.total),
      this.waves,
      el("div.under.after", {}, mixes, this.urls.size > 1 ? this.archive : null),
      this.note,
    );
    this.#listenForSeeks();
    this.#showPosition();
    return root;
  }

  #lane(stem) {
    const name = stemName(stem);
    const lane = { muted: false, solo: false, volume: 1, level: null };
    lane.wave = el("div.wave", { "aria-hidden": "true" });
    lane.mute = this.#switch("Mute", `Mute ${name}`, () => (lane.muted = !lane.muted));
    lane.alone = this.#switch("Solo", `Solo ${name}: hear nothing else`, () => (lane.solo = !lane.solo));
    lane.fader = el("input.volume", { type: "range", min: 0, max: 100, value: 100, "aria-label": `Volume of ${name}`, oninput: () => this.#fade(lane) });
    lane.link = this.#save(stem, name);
    this.#lanes.set(stem, lane);
    lane.root = el(
      "div.lane",
      { role: "group", "aria-label": name, "data-stem": stem },
      el("div.names", {}, el("span.stem", {}, name), el("span.switches", {}, lane.mute, lane.alone)),
      lane.wave,
      el("div.tools", {}, el("label.fader", {}, icon("volume"), lane.fader), lane.link, this.#copy(stem, name)),
    );
    return lane.root;
  }

  #switch(word, label, flip) {
    const button = el("button.switch", { type: "button", "aria-label": label, title: label, "aria-pressed": "false" }, word);
    button.addEventListener("click", () => {
      flip();
      this.#mix();
    });
    return button;
  }

  #save(stem, name) {
    return el("a.tool", { href: this.urls.get(stem), download: "", rel: "noopener", title: `Download ${name}`, "aria-label": `Download ${name}` }, icon("download"));
  }

  #copy(stem, name) {
    const button = el("button.tool", { type: "button", title: `Copy the link to ${name}`, "aria-label": `Copy the link to ${name}` }, icon("link"));
    button.addEventListener("click", async () => {
      await copy(this.urls.get(stem), button);
      say(this.note, `The link to ${name} is copied.`);
    });
    return button;
  }

  #mixes() {
    const mix = (label, chosen) => {
      const apply = () => {
        for (const [stem, lane] of this.#lanes) Object.assign(lane, { solo: false, muted: !chosen(stem) });
        this.#mix();
      };
      return el("button.quiet", { type: "button", onclick: apply }, label);
    };
    return el(
      "div.mixes",
      { role: "group", "aria-label": "Mixes" },
      mix("Everything", () => true),
      mix("Karaoke", (stem) => stem !== "vocals"),
      mix("A cappella", (stem) => stem === "vocals"),
    );
  }

  // drawing

  async #draw() {
    const links = this.state.peaks_urls ?? {};
    const peaksOf = await Promise.all(
      [...this.urls.keys()].map(async (stem) => [stem, links[stem] ? await peaksAt(links[stem], this.#ended.signal) : null]),
    );
    if (this.#ended.signal.aborted) return;
    if (peaksOf.some(([, peaks]) => peaks === null)) {
      this.#load().catch(() => {});
      return;
    }
    this.#show(new Map(peaksOf.map(([stem, peaks]) => [stem, levelsOfPeaks(peaks, this.#barCount())])));
  }

  #barCount() {
    const [{ wave }] = this.#lanes.values();
    return Math.max(40, Math.round(wave.clientWidth / BAR_PIXELS));
  }

  #show(levels) {
    const loudest = Math.max(...[...levels.values()].flat());
    for (const [stem, lane] of this.#lanes) {
      lane.level = levels.get(stem);
      lane.wave.replaceChildren(...bars(lane.level, loudest));
    }
  }

  // playing

  /** Plays or pauses. */
  async toggle() {
    if (this.#engine?.playing) {
      this.#engine.pause();
      return this.#showPlaying();
    }
    try {
      this.button.setAttribute("aria-busy", "true");
      const engine = await this.#load();
      await engine.play();
    } catch {
      if (!this.#ended.signal.aborted) say(this.note, "The audio could not be loaded. The links may have expired: open the track again.");
    } finally {
      this.button.removeAttribute("aria-busy");
      this.#showPlaying();
    }
  }

  #load() {
    this.#loading ??= this.#engineOf().then(
      (engine) => this.#ready(engine),
      (error) => {
        this.#loading = null; // the next click retries
        throw error;
      },
    );
    return this.#loading;
  }

  async #engineOf() {
    const { signal } = this.#ended;
    if (fits(this.urls.size, this.duration)) {
      try {
        return await decode(this.urls, (part) => this.#loaded(part), signal);
      } catch {
        signal.throwIfAborted(); // the store may not allow CORS reads; media elements may still play
      }
    }
    return stream(this.urls, signal);
  }

  #ready(engine) {
    if (this.#ended.signal.aborted) {
      engine.close();
      throw new DOMException("The track was closed.", "AbortError");
    }
    this.#engine = engine;
    engine.onend = () => this.#showPlaying();
    this.duration = engine.duration || this.duration;
    say(this.total, clock(this.duration));
    this.#loaded(1);
    this.#mix();
    this.#drawFrom(engine);
    return engine;
  }

  #drawFrom(engine) {
    const lanes = [...this.#lanes];
    if (lanes.every(([stem, lane]) => lane.level === null && engine.buffer(stem))) {
      this.#show(new Map(lanes.map(([stem]) => [stem, levelsOfAudio(engine.buffer(stem), this.#barCount())])));
    }
  }

  #loaded(part) {
    this.root.style.setProperty("--loaded", String(part));
  }

  #seekTo(part) {
    this.#load().then((engine) => {
      engine.seek(Math.min(1, Math.max(0, part)) * this.duration);
      this.#showPosition();
      this.#report();
    }, () => {});
  }

  #skip(seconds) {
    if (this.#engine) this.#seekTo((this.#engine.position + seconds) / this.duration);
  }

  // the mixer

  #fade(lane) {
    lane.volume = lane.fader.value / 100;
    lane.fader.style.setProperty("--value", `${lane.fader.value}%`);
    lane.muted = false;
    this.#mix();
  }

  #mix() {
    const soloed = [...this.#lanes.values()].some((lane) => lane.solo);
    for (const [stem, lane] of this.#lanes) {
      const heard = soloed ? lane.solo : !lane.muted;
      lane.mute.setAttribute("aria-pressed", String(lane.muted));
      lane.alone.setAttribute("aria-pressed", String(lane.solo));
      lane.root.classList.toggle("silent", !heard);
      this.#engine?.setVolume(stem, heard ? lane.volume ** 2 : 0); // perceived loudness is not linear
    }
  }

  // time

  #showPlaying() {
    const playing = this.#engine?.playing ?? false;
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.button.replaceChildren(icon(playing ? "pause" : "play"));
    cancelAnimationFrame(this.#frame);
    this.#showPosition();
    this.#report();
    if (playing) this.#frame = requestAnimationFrame(() => this.#follow());
  }

  #report() {
    this.controls.report({ playing: this.#engine?.playing ?? false, position: this.#engine?.position ?? 0, duration: this.duration });
  }

  #follow() {
    this.#showPosition();
    if (this.#engine.playing) this.#frame = requestAnimationFrame(() => this.#follow());
  }

  #showPosition() {
    const position = this.#engine?.position ?? 0;
    const part = this.duration ? position / this.duration : 0;
    say(this.now, clock(position));
    this.root?.style.setProperty("--played", `${(part * 100).toFixed(3)}%`);
    this.seeker.value = String(Math.round(part * 1000));
    const text = `${clock(position)} of ${clock(this.duration)}`;
    if (this.seeker.getAttribute("aria-valuetext") !== text) this.seeker.setAttribute("aria-valuetext", text);
  }

  #listenForSeeks() {
    const seek = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      this.#seekTo(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    };
    for (const { wave } of this.#lanes.values()) {
      wave.addEventListener("pointerdown", (event) => {
        wave.setPointerCapture(event.pointerId);
        seek(event);
      });
      wave.addEventListener("pointermove", (event) => wave.hasPointerCapture(event.pointerId) && seek(event));
    }
  }

  /** Space plays and arrows skip, except where a control under the focus has its own use for the key. */
  #key(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const slider = event.target.matches("input[type=range]");
    if (event.target.matches("textarea, select") || (event.target.matches("input") && !slider)) return;
    if (event.key === " " && !event.repeat && (slider || !event.target.closest("button, summary"))) this.toggle();
    else if (slider || !this.root.contains(event.target)) return;
    else if (event.key === "ArrowLeft") this.#skip(-SKIP_SECONDS);
    else if (event.key === "ArrowRight") this.#skip(SKIP_SECONDS);
    else return;
    event.preventDefault();
  }
}

/** Returns the links to a track's stems by stem, in their order. */
function linksOf(state) {
  return new Map(
    Object.entries(state.result)
      .filter(([name, url]) => name.endsWith("_url") && /^https?:/.test(url))
      .map(([name, url]) => [name.slice(0, -"_url".length), url])
      .sort(([one], [other]) => stemOrder(one) - stemOrder(other)),
  );
}

async function peaksAt(url, signal) {
  try {
    const response = await fetch(url, { signal, credentials: "omit" });
    const peaks = response.ok ? await response.json() : null;
    return Array.isArray(peaks?.data) ? peaks : null;
  } catch {
    return null;
  }
}
