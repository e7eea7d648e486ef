// Composer: requests a separation by words, a link or a file, with the options that this deployment offers.

import { Problem } from "./client.js";
import { at, el, icon, say } from "./elements.js";
import { dropParts } from "./parts.js";
import { problemBox } from "./problems.js";
import { forget, remembered, unfinished } from "./unfinished.js";
import { upload } from "./upload.js";
import { effortName, kindOf, size, stemName, stemOrder } from "./words.js";

const MEBIBYTE = 1024 * 1024;

export class Composer {
  #files = [];
  #sending = null;

  /** `placed(answer, query, first)` is called with the response to each accepted request, `denied(problem)` with a 401. */
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
    at("choose").addEventListener("click", () => at("file").click());
    at("file").addEventListener("change", () => this.add(at("file").files));
    for (const id of ["format", "model", "quality", "effort"]) at(id).addEventListener("change", () => this.#options());
    at("stems").addEventListener("change", () => this.#options());
    this.#listenForDrops();
  }

  /** Shows the sources, models and formats of the deployment. */
  offer(capabilities) {
    const { sources, models, formats } = capabilities;
    Object.assign(this, { sources, models, formats });
    at("choose").hidden = !sources.upload;
    this.button.disabled = false;
    say(at("ask-label"), sources.search ? "Song or link" : "Link");
    this.ask.placeholder = sources.search ? "Title and artist, or a link" : "https://…";
    fill(at("model"), models.map(({ name }) => [name, name]), models.find((model) => model.default)?.name);
    at("model-field").hidden = models.length < 2;
    fill(at("format"), formats.map(({ name }) => [name, name]));
    this.#options();
    this.#hint();
  }

  /** Focuses the input field. */
  focus() {
    this.ask.focus();
  }

  /** Lets the user edit an earlier query. */
  edit(query) {
    this.#keep([]);
    this.ask.value = query.startsWith("upload ") ? "" : query;
    this.#hint();
    this.ask.focus();
    this.ask.select();
  }

  /** Adds files, which are separated instead of words. */
  add(files) {
    this.#keep([...this.#files, ...files]);
    at("file").value = "";
    at("compose-problem").replaceChildren();
    if (files.length) this.button.focus();
  }

  #keep(files) {
    const count = files.length;
    this.#files = files;
    this.ask.value = count ? (count === 1 ? "1 file" : `${count} files`) : "";
    this.ask.readOnly = count > 0;
    say(at("choose").lastElementChild, count ? "Add files" : "Choose files");
    at("files").hidden = count === 0;
    at("files").replaceChildren(...files.map((file) => this.#chosen(file)));
    this.#hint();
  }

  #chosen(file) {
    const remove = () => {
      dropParts(this.client, file); // forgets it at once
      this.#keep(this.#files.filter((each) => each !== file));
      (at("files").querySelector("button") ?? this.ask).focus();
    };
    return el(
      "li",
      {},
      el("span.title", {}, file.name),
      el("span.note", {}, size(file.size)),
      el("button.tool", { type: "button", "aria-label": `Remove ${file.name}`, title: `Remove ${file.name}`, disabled: Boolean(this.#sending), onclick: remove }, icon("close")),
    );
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
    say(at("options-now"), `${parts || "No stem chosen"} · ${format.name} ${at("quality").selectedOptions[0].text}`);
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
    this.#sending = new AbortController();
    at("compose-problem").replaceChildren();
    this.#busy(this.#files.length ? "Uploading" : "Asking");
    try {
      if (this.#files.length) await this.#sendFiles();
      else await this.#sendWords(this.ask.value.trim());
      at("options").open = false;
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#sending = null;
      this.#busy(null);
    }
  }

  async #sendWords(query) {
    await this.#place(kindOf(query) === "link" ? { url: query } : { search_query: query }, query, true);
    this.#keep([]);
  }

  /** Sends the chosen files one after another; those that were not sent stay chosen. */
  async #sendFiles() {
    const count = this.#files.length;
    for (let number = 1; number <= count; number++) {
      const [file] = this.#files;
      await this.#place(await this.#uploaded(file, count > 1 ? `${number} of ${count}, ` : ""), file.name, number === 1);
      forget(file);
      this.#keep(this.#files.slice(1));
    }
  }

  async #place(source, name, first) {
    const answer = await this.client.post("/separate-audio", this.#request(source), this.#sending.signal);
    this.placed(answer, name, first);
  }

  async #uploaded(file, which) {
    const show = (part, repeating) => {
      const percent = `${which}${Math.round(part * 100)} %`;
      this.button.style.setProperty("--part", String(part));
      say(at("ask-hint"), repeating ? `Interrupted at ${percent}, trying again…` : `Uploading ${percent}`);
    };
    const id = await upload(this.client, file, this.sources.max_file_size_mb, show, this.#sending.signal);
    return { upload_id: id, metadata: { filename: file.name.slice(0, 200) } };
  }

  #wrong() {
    const text = this.ask.value.trim();
    const { max_file_size_mb: most, search } = this.sources;
    const large = this.#files.find((file) => file.size > most * MEBIBYTE);
    if (large) return `“${large.name}” is larger than the ${most} MiB that are accepted. An mp3 of it may be small enough.`;
    const empty = this.#files.find((file) => file.size === 0);
    if (empty) return `“${empty.name}” is empty.`;
    if (!text) return search ? "Type a title and an artist, paste a link, or choose a file." : "Paste a link, or choose a file.";
    if (!search && !this.#files.length && kindOf(text) === "words") return "Search is disabled. Paste a link that starts with https://, or choose a file.";
    if (!this.#stems().length) return "Choose at least one stem under Options.";
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
    this.ask.readOnly = word !== null || this.#files.length > 0;
    at("choose").disabled = word !== null;
    for (const button of at("files").querySelectorAll("button")) button.disabled = word !== null;
    if (word !== null) say(at("ask-hint"), `${word}…`);
    else this.#hint();
  }

  #hint() {
    const text = this.ask.value.trim();
    if (this.#sending) return;
    if (this.#files.length) say(at("ask-hint"), this.#plan());
    else if (!text) say(at("ask-hint"), this.sources?.upload ? this.#invitation() : "");
    else say(at("ask-hint"), kindOf(text) === "link" ? "The audio behind this link." : "The best match of a search for these words.");
  }

  #invitation() {
    const [name] = unfinished();
    if (name) return `To continue the upload of “${name}”, choose it again.`;
    return `Or drop audio files anywhere, up to ${this.sources.max_file_size_mb} MiB each.`;
  }

  /** Returns what will become of the chosen files. */
  #plan() {
    if (this.#files.length > 1) return "Each is separated on its own when you press Separate.";
    return remembered(this.#files[0]) ? "Its upload is continued when you press Separate." : "Uploaded when you press Separate.";
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
      this.add(filesOf(event.dataTransfer));
    });
  }

  #droppable(event) {
    return Boolean(this.sources?.upload) && !this.#sending && event.dataTransfer?.types.includes("Files");
  }
}

/** Returns the dropped files without folders, which browsers list as files. */
function filesOf(transfer) {
  return [...transfer.items].filter((item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile());
}

function fill(select, values, chosen) {
  select.replaceChildren(...values.map(([value, label]) => el("option", { value, selected: String(value) === String(chosen) }, label)));
}

const keepable = (value, values) => (values.some(([each]) => String(each) === value) ? value : undefined);
