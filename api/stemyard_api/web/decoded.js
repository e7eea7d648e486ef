// Decoded: plays stems from memory by one audio clock, so that they stay in sync.

const RATE = 44_100;
const BYTES_PER_SECOND = RATE * 2 * 4;
const BUDGET = (navigator.deviceMemory ?? 8) <= 4 ? 160e6 : 400e6;

/** Whether this many stems of this duration fit into the page's memory budget. */
export const fits = (stems, seconds) => seconds > 0 && stems * seconds * BYTES_PER_SECOND <= BUDGET;

/** Fetches and decodes the stems, `urls` by name; `progress` is called with 0 to 1. */
export async function decode(urls, progress, signal) {
  const parts = new Map([...urls.keys()].map((stem) => [stem, 0]));
  const report = (stem, part) => {
    parts.set(stem, part);
    progress([...parts.values()].reduce((sum, each) => sum + each, 0) / parts.size);
  };
  const decoder = new OfflineAudioContext(2, 1, RATE); // an AudioContext cannot be created before a user gesture
  const buffers = await Promise.all(
    [...urls].map(async ([stem, url]) => {
      const bytes = await read(url, (part) => report(stem, part), signal);
      return [stem, await decoder.decodeAudioData(bytes)];
    }),
  );
  return new Decoded(new Map(buffers));
}

async function read(url, progress, signal) {
  const response = await fetch(url, { signal, credentials: "omit" });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const length = Number(response.headers.get("Content-Length")) || 0;
  const chunks = [];
  let received = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    received += value.length;
    if (length) progress(received / length);
  }
  return new Blob(chunks).arrayBuffer();
}

class Decoded {
  #buffers;
  #context = null;
  #gains = new Map();
  #sources = [];
  #volumes = new Map();
  #startedAt = 0;
  #offset = 0;
  playing = false;
  onend = () => {};

  constructor(buffers) {
    this.#buffers = buffers;
    this.duration = Math.max(...[...buffers.values()].map((buffer) => buffer.duration));
  }

  /** A stem's samples. */
  buffer(stem) {
    return this.#buffers.get(stem);
  }

  get position() {
    if (!this.playing) return this.#offset;
    return Math.min(this.duration, Math.max(this.#offset, this.#offset + this.#context.currentTime - this.#startedAt));
  }

  async play() {
    if (this.playing) return;
    this.#open();
    await this.#context.resume();
    if (this.#offset >= this.duration) this.#offset = 0;
    this.#startedAt = this.#context.currentTime + 0.03; // all sources start at the same time
    this.#sources = [...this.#buffers].map(([stem, buffer]) => {
      const source = new AudioBufferSourceNode(this.#context, { buffer });
      source.connect(this.#gains.get(stem));
      source.start(this.#startedAt, this.#offset);
      return source;
    });
    this.playing = true;
    this.#longest().onended = () => this.#ended();
  }

  pause() {
    this.#offset = this.position;
    this.#stop();
  }

  seek(seconds) {
    const resume = this.playing;
    this.#stop();
    this.#offset = Math.min(this.duration, Math.max(0, seconds));
    if (resume) this.play();
  }

  /** Sets a stem's volume, 0 to 1. */
  setVolume(stem, volume) {
    this.#volumes.set(stem, volume);
    const gain = this.#gains.get(stem)?.gain;
    gain?.setTargetAtTime(volume, this.#context.currentTime, 0.012); // a jump would click
  }

  close() {
    this.#stop();
    this.#context?.close();
    this.#buffers = new Map();
  }

  #open() {
    if (this.#context) return;
    this.#context = new AudioContext();
    for (const stem of this.#buffers.keys()) {
      const gain = new GainNode(this.#context, { gain: this.#volumes.get(stem) ?? 1 });
      gain.connect(this.#context.destination);
      this.#gains.set(stem, gain);
    }
  }

  #longest() {
    return this.#sources.reduce((one, other) => (other.buffer.duration > one.buffer.duration ? other : one));
  }

  #ended() {
    this.#stop();
    this.#offset = this.duration;
    this.onend();
  }

  #stop() {
    this.playing = false;
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.#sources = [];
  }
}
