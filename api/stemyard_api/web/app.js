// App: puts the page together: the key, the address, and what is shown for each.

import { Client, Problem } from "./client.js";
import { Composer } from "./composer.js";
import { at, say } from "./elements.js";
import { problemBox } from "./problems.js";
import { Recent } from "./recent.js";
import { Session } from "./session.js";
import { Track } from "./track.js";
import { advice } from "./words.js";

const NEEDS_KEY = document.body.dataset.key !== "open";

const session = new Session();
const client = new Client(session);
const recent = new Recent(client);
const composer = new Composer(client, {
  placed(answer, query) {
    recent.queries.set(answer.track_id, query);
    const address = `#/track/${answer.track_id}`;
    if (location.hash !== address) history.pushState(null, "", address);
    showTrack();
    recent.refresh();
    at("track").focus({ preventScroll: true });
  },
  denied: askForKey,
});
let track = null;

/** Shows what there is to do with the key at hand, or asks for one. */
async function enter() {
  if (NEEDS_KEY && !session.key) return askForKey();
  let capabilities;
  try {
    capabilities = await client.get("/capabilities");
  } catch (error) {
    return cannotEnter(error);
  }
  const may = (scope) => capabilities.key.scopes.includes(scope);
  at("key").hidden = true;
  say(at("key-problem"), "");
  at("key-change").hidden = !NEEDS_KEY;
  say(at("key-change"), `Key: ${capabilities.key.id}`);
  at("key-change").setAttribute("aria-label", `Key ${capabilities.key.id}: forget it and enter another`);
  at("compose").hidden = !may("submit");
  at("recent").hidden = !may("read");
  composer.offer(capabilities);
  track = may("read") ? new Track(at("track"), client, page, may("submit")) : null;
  if (track) recent.refresh();
  showTrack();
  if (!at("compose").hidden && at("track").hidden) composer.focus();
}

function cannotEnter(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askForKey(error);
  at("track").hidden = false;
  at("track").replaceChildren(problemBox(error));
  setTimeout(enter, (error.retryAfter ?? 5) * 1000);
}

function askForKey(error) {
  track?.close();
  session.forget();
  for (const id of ["compose", "recent", "track", "key-change"]) at(id).hidden = true;
  at("key").hidden = false;
  say(at("key-problem"), error ? `This key was not accepted. ${advice("UNAUTHENTICATED")}` : "");
  at("key-input").focus();
}

/** What a track tells the page. */
const page = {
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

function showTrack() {
  const id = /^#\/track\/([\w.%-]+)$/.exec(location.hash)?.[1];
  at("welcome").hidden = Boolean(id) && Boolean(track);
  document.title = "Stemyard";
  recent.mark(id && decodeURIComponent(id));
  if (id) track?.show(id, recent.queryOf(id));
  else track?.close();
}

addEventListener("hashchange", showTrack);
addEventListener("visibilitychange", () => !document.hidden && track && recent.refresh());

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = at("key-input").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) return say(at("key-problem"), "A key has no spaces and only plain characters.");
  session.keep(key, at("key-remember").checked);
  at("key-input").value = "";
  enter();
});
at("key-change").addEventListener("click", () => askForKey());

enter();
