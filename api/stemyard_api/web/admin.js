// Admin page: all tracks of the installation, for keys with the scope admin. It reads one document every few seconds.

import { Client, Problem } from "./client.js";
import { Dashboard } from "./dashboard.js";
import { at, say } from "./elements.js";
import { KeyForm } from "./keyform.js";
import { problemBox } from "./problems.js";
import { Session } from "./session.js";
import { TrackLists } from "./tracklists.js";
import { forgetAll } from "./unfinished.js";

const NEEDS_KEY = document.body.dataset.key !== "open";
const EVERY_MS = 5000;
const SOON_MS = 2500; // after a change: the service's own answer is two seconds old at most
const LONGEST_MS = 40_000;

const session = new Session();
const client = new Client(session);
const keyForm = new KeyForm(session, { entered: enter, kept: enter });
const dashboard = new Dashboard();
const lists = new TrackLists(client, { changed: readSoon });
let open = false;
let timer = 0;
let reading = null;
let failures = 0;
let succeeded = "";

/** Shows the views that the key permits, or asks for a key. */
async function enter() {
  if (keyForm.offerFromAddress()) return show("key");
  if (NEEDS_KEY && !session.key) return askForKey();
  keyForm.hide();
  show("entering");
  let capabilities;
  try {
    capabilities = await client.get("/capabilities");
  } catch (error) {
    return cannotEnter(error);
  }
  const { id, scopes } = capabilities.key;
  at("key-change").hidden = !NEEDS_KEY;
  say(at("key-change"), `Key: ${id}`);
  at("key-change").setAttribute("aria-label", `Key: ${id}. Forget it and enter another`);
  if (!scopes.includes("admin")) return show("refused");
  lists.maySubmit = scopes.includes("submit");
  at("looks-only").hidden = lists.maySubmit;
  show("dashboard");
  open = true;
  read();
}

/** Shows one part of the page. */
function show(part) {
  for (const each of ["key", "entering", "refused", "dashboard"]) at(each).hidden = each !== part;
  if (part !== "dashboard") stop();
  at("refusal").hidden = true;
  if (part === "entering") at("entering").replaceChildren("Loading…");
  if (part === "key") at("key-change").hidden = true;
}

function cannotEnter(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askForKey(error);
  at("entering").replaceChildren(problemBox(error));
  setTimeout(enter, (error.retryAfter ?? 5) * 1000);
}

function askForKey(problem) {
  session.forget();
  show("key");
  keyForm.ask({ problem });
}

/** Reads the overview, shows it, and does so again after a while, longer after each failure. */
async function read() {
  clearTimeout(timer);
  reading?.abort();
  const mine = new AbortController();
  reading = mine;
  try {
    const overview = await client.get("/admin/overview", mine.signal);
    if (reading !== mine) return;
    failures = 0;
    shown(overview);
    schedule(EVERY_MS);
  } catch (error) {
    if (reading !== mine) return;
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return askForKey(error);
    if (error.status === 403) return show("refused");
    failures += 1;
    say(at("stale"), `${error.message} ${succeeded ? `What you see is of ${succeeded}. ` : ""}Trying again. (${error.code})`);
    schedule(Math.max((error.retryAfter ?? 0) * 1000, Math.min(LONGEST_MS, EVERY_MS * 2 ** (failures - 1))));
  } finally {
    if (reading === mine) reading = null;
  }
}

function shown(overview) {
  dashboard.show(overview);
  lists.show(overview);
  succeeded = new Date().toLocaleTimeString();
  say(at("updated"), `Updated at ${succeeded}`);
  say(at("stale"), "");
  at("incomplete").hidden = overview.complete;
  at("dashboard").removeAttribute("aria-busy");
}

/** Shows what became of a change, also while updates pause. */
function readSoon() {
  clearTimeout(timer);
  if (open) timer = setTimeout(read, SOON_MS);
}

function schedule(wait) {
  clearTimeout(timer);
  if (open && !paused() && !document.hidden) timer = setTimeout(read, wait);
}

function stop() {
  open = false;
  clearTimeout(timer);
  reading?.abort();
  reading = null;
  say(at("stale"), "");
}

const paused = () => at("pause").getAttribute("aria-pressed") === "true";

at("pause").addEventListener("click", () => {
  at("pause").setAttribute("aria-pressed", String(!paused()));
  if (paused()) clearTimeout(timer);
  else read();
});
at("key-change").addEventListener("click", () => (forgetAll(), askForKey()));
at("refused-other").addEventListener("click", () => askForKey());
addEventListener("hashchange", () => keyForm.offerFromAddress() && show("key"));
addEventListener("visibilitychange", () => open && (document.hidden ? clearTimeout(timer) : !paused() && read()));
document.body.classList.add("ready");
enter();
