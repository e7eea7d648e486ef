// Composer: asks for a separation, by words, a link or a file, with the options this deployment offers.

import { Problem } from "./client.js";
import { at, el, say } from "./elements.js";
import { problemBox } from "./problems.js";
import { upload } from "./upload.js";
import { effortName, kindOf, stemName, stemOrder } from "./words.js";

const MEBIBYTE = 1024 * 1024;

export class Composer {
  #file = null;
  #sending = null;

  /** `placed(answer, query)` is called with the answer to each accepted request, `denied(problem)` with a 401. */
  constructor(client, { placed, denied }) {
    Object.assign(this, { client, placed, denied });
    this.ask = at("ask");
    this.button = at("submit");
    at("compose-form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#sending) this.#sending.abort();
      else this.#submit();
    });
    this.ask.addEventListener("input", () => this.#hint());
    at("choose").addEventListener("click", () => (this.#file ? this.take(null) : at("file").click()));
    at("file").addEventListener("change", () => this.take(at("file").files[0] ?? null));
    for (const id of ["format", "model", "quality", "effort"]) at(id).addEventListener("change", () => this.#options());
    at("stems").addEventListener("change", () => this.#options());
    this.#listenForDrops();
  }

  /** Offers what a deployment takes and makes. */
  offer(capabilities) {
    const { sources, models, formats } = capabilities;
    Object.assign(this, { sources, models, formats });
    at("choose").hidden = !sources.upload;
    say(at("ask-label"), sources.search ? "Song or link" : "Link");
    this.ask.placeholder = sources.search ? "Title and artist, or a link" : "https://…";
    fill(at("model"), models.map(({ name }) => [name, name]), models.find((model) => model.default)?.name);
    at("model-field").hidden = models.length < 2;
    fill(at("format"), formats.map(({ name }) => [name, name]));
    this.#options();
    this.#hint();
  }

  /** Puts the cursor where a song is asked for. */
  focus() {
    this.ask.focus();
  }

  /** Lets the user ask again, from what was asked before. */
  edit(query) {
    this.take(null);
    this.ask.value = query.startsWith("upload ") ? "" : query;
    this.#hint();
    this.ask.focus();
    this.ask.select();
  }

  /** Takes a file instead of words, or gives it back with null. */
  take(file) {
    this.#file = file;
    at("file").value = "";
    this.ask.value = file ? file.name : "";
    this.ask.readOnly = Boolean(file);
    at("choose").lastChild.textContent = file ? "Remove the file" : "Choose a file";
    at("compose-problem").replaceChildren();
    this.#hint();
    if (file) this.button.focus();
  }

  // options

  #options() {
    const model = this.models.find(({ name }) => name === at("model").value);
    const format = this.formats.find(({ name }) => name === at("format").value);
    this.#offerModel(model);
    const lossy = Boolean(format.bitrates);
    say(at("quality-label"), lossy ? "Bitrate" : "Bit depth");
    const values = lossy ? format.bitrates.map((rate) => [rate, `${rate} kbit/s`]) : format.bit_depths.map((bits) => [bits, `${bits} bit`]);
    fill(at("quality"), values, keepable(at("quality").value, values) ?? (lossy ? Math.max(...format.bitrates) : 24));
    const parts = this.#stems().map(stemName).join(", ");
    say(at("options-now"), `${parts || "No part chosen"} · ${format.name} ${at("quality").selectedOptions[0].text}`);
  }

  #offerModel(model) {
    if (this.offered === model.name) return;
    this.offered = model.name;
    fill(at("effort"), model.qualities.map((quality) => [quality, effortName(quality)]), "balanced");
    at("effort-field").hidden = model.qualities.length < 2;
    const stems = [...model.stems].sort((one, other) => stemOrder(one) - stemOrder(other));
    const chips = stems.map((stem) => {
      const usual = stem === "vocals" || stem === "instrumental";
      return el("label.chip", { "data-stem": stem }, el("input", { type: "checkbox", value: stem, checked: usual }), stemName(stem));
    });
    at("stems").replaceChildren(...chips);
  }

  #stems() {
    return [...at("stems").querySelectorAll("input:checked")].map((box) => box.value);
  }

  #request(source) {
    const format = this.formats.find(({ name }) => name === at("format").value);
    const quality = Number(at("quality").value);
    return {
      ...source,
      model: at("model").value,
      ...(at("effort").value ? { quality: at("effort").value } : {}),
      stems: this.#stems(),
      format: format.name,
      ...(format.bitrates ? { bitrate: quality } : { bit_depth: quality }),
      ...(at("anew").checked ? { cache: "refresh" } : {}),
    };
  }

  // sending

  async #submit() {
    const wrong = this.#wrong();
    if (wrong) return this.#refuse(wrong);
    const file = this.#file;
    const query = this.ask.value.trim();
    this.#sending = new AbortController();
    at("compose-problem").replaceChildren();
    this.#busy(file ? "Uploading" : "Asking");
    try {
      const source = file ? await this.#uploaded(file) : kindOf(query) === "link" ? { url: query } : { search_query: query };
      const answer = await this.client.post("/separate-audio", this.#request(source), this.#sending.signal);
      this.take(null);
      at("options").open = false;
      this.placed(answer, file ? file.name : query);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#sending = null;
      this.#busy(null);
    }
  }

  async #uploaded(file) {
    const show = (part) => {
      this.button.style.setProperty("--part", String(part));
      say(at("ask-hint"), `Uploading, ${Math.round(part * 100)} %`);
    };
    const id = await upload(this.client, file, show, this.#sending.signal);
    return { upload_id: id, metadata: { filename: file.name.slice(0, 200) } };
  }

  #wrong() {
    const text = this.ask.value.trim();
    const { max_file_size_mb: most, search } = this.sources;
    if (this.#file && this.#file.size > most * MEBIBYTE) return `This file is larger than the ${most} MiB that are accepted. An mp3 of it may fit.`;
    if (this.#file && this.#file.size === 0) return "This file is empty.";
    if (!text) return search ? "Type a title and an artist, paste a link, or choose a file." : "Paste a link, or choose a file.";
    if (!search && !this.#file && kindOf(text) === "words") return "Searching is turned off here. Paste a link that starts with https://, or choose a file.";
    if (!this.#stems().length) return "Choose at least one part under Options.";
    return "";
  }

  #refuse(text) {
    at("compose-problem").replaceChildren(el("div.notice.bad", { role: "alert" }, text));
    this.ask.focus();
  }

  #failed(error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return this.denied(error);
    at("compose-problem").replaceChildren(problemBox(error));
  }

  #busy(word) {
    this.button.classList.toggle("busy", word !== null);
    this.button.style.setProperty("--part", "0");
    say(this.button, word === null ? "Separate" : "Stop");
    this.ask.readOnly = word !== null || Boolean(this.#file);
    at("choose").disabled = word !== null;
    if (word !== null) say(at("ask-hint"), `${word}…`);
    else this.#hint();
  }

  #hint() {
    const text = this.ask.value.trim();
    const { max_file_size_mb: most } = this.sources ?? {};
    if (this.#file) say(at("ask-hint"), `${(this.#file.size / MEBIBYTE).toFixed(1)} MiB, uploaded when you press Separate.`);
    else if (!text) say(at("ask-hint"), this.sources?.upload ? `Or drop an audio file anywhere, up to ${most} MiB.` : "");
    else say(at("ask-hint"), kindOf(text) === "link" ? "The audio behind this link." : "The best match of a search for these words.");
  }

  // dropping

  #listenForDrops() {
    let depth = 0;
    const show = (change) => {
      depth = Math.max(0, depth + change);
      at("drop").classList.toggle("over", depth > 0);
    };
    document.addEventListener("dragenter", (event) => this.#droppable(event) && show(1));
    document.addEventListener("dragleave", (event) => this.#droppable(event) && show(-1));
    document.addEventListener("dragover", (event) => this.#droppable(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!this.#droppable(event)) return;
      event.preventDefault();
      show(-depth);
      const file = event.dataTransfer.files[0];
      if (file) this.take(file);
    });
  }

  #droppable(event) {
    return Boolean(this.sources?.upload) && !this.#sending && event.dataTransfer?.types.includes("Files");
  }
}

function fill(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => el("option", { value, selected: String(value) === String(chosen) }, label)));
}

const keepable = (value, values) => (values.some(([each]) => String(each) === value) ? value : undefined);
