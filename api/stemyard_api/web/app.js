// App: connects the page's parts: key, address and views.

import { Client, Problem } from "./client.js";
import { Composer } from "./composer.js";
import { at, say } from "./elements.js";
import { KeyForm } from "./keyform.js";
import { problemBox } from "./problems.js";
import { Recent } from "./recent.js";
import { Session } from "./session.js";
import { showShared } from "./shared.js";
import { Track } from "./track.js";
import { forgetAll } from "./unfinished.js";

const NEEDS_KEY = document.body.dataset.key !== "open";
const SHARED = /^\/s\/([^/]+)$/.exec(location.pathname)?.[1];

const session = new Session();
const client = new Client(session);
const keyForm = new KeyForm(session, { entered: enter, kept: () => (keyForm.hide(), enter()) });
const recent = new Recent(client, { deleted: (trackId) => trackId === openTrack() && page.left() });
const composer = new Composer(client, {
  placed(answer, query, first) {
    recent.queries.set(answer.track_id, query);
    if (first) open(answer.track_id);
    recent.refresh();
  },
  denied: askForKey,
});
let track = null;

/** Shows the views that the key permits, or asks for a key. */
async function enter() {
  if (keyForm.offerFromAddress()) return showKeyForm();
  if (NEEDS_KEY && !session.key) return askForKey();
  showViews(true, true); // what most keys may do is shown at once, so that nothing moves when the answer arrives
  let capabilities;
  try {
    capabilities = await client.get("/capabilities");
  } catch (error) {
    return cannotEnter(error);
  }
  const may = (scope) => capabilities.key.scopes.includes(scope);
  at("key-change").hidden = !NEEDS_KEY;
  say(at("key-change"), `Key: ${capabilities.key.id}`);
  at("key-change").setAttribute("aria-label", `Key: ${capabilities.key.id}. Forget it and enter another`);
  at("admin").hidden = !may("admin");
  composer.offer(capabilities);
  showViews(may("submit"), may("read"));
  recent.mayDelete = may("submit");
  recent.offered = may("read");
  track = may("read") ? new Track(at("track"), client, page, may("submit")) : null;
  if (track) recent.refresh();
  showTrack();
  if (!at("compose").hidden && at("track").hidden) composer.focus();
}

function showViews(submits, reads) {
  keyForm.hide();
  at("compose").hidden = !submits;
  document.body.classList.toggle("listing", reads);
  at("recent").hidden = !reads || Boolean(openTrack()); // until the track above it has its size
  at("welcome").hidden = Boolean(openTrack()) && reads;
}

function cannotEnter(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askForKey(error);
  at("track").hidden = false;
  at("track").replaceChildren(problemBox(error));
  setTimeout(enter, (error.retryAfter ?? 5) * 1000);
}

function askForKey(problem) {
  session.forget();
  showKeyForm();
  keyForm.ask({ problem, track: Boolean(openTrack()) });
}

function showKeyForm() {
  track?.close();
  track = null;
  document.title = "Stemyard";
  document.body.classList.remove("listing");
  for (const id of ["compose", "recent", "track", "admin", "key-change"]) at(id).hidden = true;
  at("welcome").hidden = false;
}

/** Callbacks of a track. */
const page = {
  shown: () => (at("recent").hidden = !recent.offered),
  changed: () => recent.refresh(),
  announce: (text) => say(at("says"), text),
  problem: askForKey,
  edit: (query) => composer.edit(query),
  rename: (text) => (document.title = `${text} – Stemyard`),
  left() {
    location.hash = "#/";
    recent.refresh();
    composer.focus();
  },
};

/** Returns the id of the track that the address names. */
function openTrack() {
  const id = /^#\/track\/([\w.%-]+)$/.exec(location.hash)?.[1];
  return id && decodeURIComponent(id);
}

function open(trackId) {
  const address = `#/track/${trackId}`;
  if (location.hash !== address) history.pushState(null, "", address);
  showTrack();
  at("track").focus({ preventScroll: true });
}

function showTrack() {
  if (!track) return;
  const id = openTrack();
  at("welcome").hidden = Boolean(id);
  document.title = "Stemyard";
  recent.mark(id);
  if (id) return track.show(id, recent.queryOf(id), recent.entryOf(id));
  track.close();
  page.shown();
}

if (SHARED) {
  showShared(at("track"), client, SHARED, page);
} else {
  addEventListener("hashchange", () => (keyForm.offerFromAddress() ? showKeyForm() : showTrack()));
  addEventListener("visibilitychange", () => !document.hidden && track && recent.refresh());
  at("key-change").addEventListener("click", () => (forgetAll(), askForKey()));
  enter();
}
document.body.classList.add("ready");
