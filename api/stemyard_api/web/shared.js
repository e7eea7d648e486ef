// Shared: a track that was shared by a link, without a key: its title, player and downloads.

import { archiveLink } from "./archive.js";
import { Problem } from "./client.js";
import { el } from "./elements.js";
import { Player } from "./player.js";
import { problemBox } from "./problems.js";
import { clock, day, nameOf } from "./words.js";

const LONGEST_TIMER_SECONDS = 24 * 3600;
const RENEW_BEFORE_SECONDS = 60;

/** Shows the track behind a share token; `page` has `announce(text)` and `rename(text)`. */
export async function showShared(root, client, token, page) {
  root.hidden = false;
  root.classList.add("shared");
  root.replaceChildren(el("p.loading", {}, "Opening the track…"));
  try {
    const state = await client.get(`/share/${token}`);
    const player = new Player(state, archiveLink(`/share/${token}/stems.zip`));
    root.replaceChildren(...view(state, player));
    renewInTime(client, token, state, player);
    page.rename(nameOf(state));
    page.announce(`${nameOf(state)} is ready to play.`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    root.replaceChildren(...refusal(error, () => showShared(root, client, token, page)));
  }
}

/** Reads the links to the stems again before they expire, which is sooner than the share link does. */
function renewInTime(client, token, state, player) {
  if (!state.expires_at) return;
  const seconds = Math.max(RENEW_BEFORE_SECONDS, state.expires_at - Date.now() / 1000 - RENEW_BEFORE_SECONDS);
  if (seconds > LONGEST_TIMER_SECONDS) return;
  setTimeout(async () => {
    const renewed = await client.get(`/share/${token}`).catch(() => null);
    if (renewed) player.renew(renewed);
    renewInTime(client, token, renewed ?? state, player);
  }, seconds * 1000);
}

function view(state, player) {
  const byline = [state.artist ?? state.channel, state.duration ? clock(state.duration) : null].filter(Boolean).join(" · ");
  const until = state.share_expires_at ? ` This page works until ${day(state.share_expires_at)}.` : "";
  const about = `Somebody shared this song with you, separated into its stems: mute one to sing or play along.${until}`;
  return [
    el("div.head", {}, el("div.names", {}, el("h1", {}, nameOf(state)), el("p.byline", {}, byline))),
    player.root,
    el("div.under.last", {}, el("p.note", {}, about), el("a.quiet", { href: "/" }, "Separate a song of your own")),
  ];
}

function refusal(error, again) {
  if (error.transient || error.status === 409) {
    const retry = el("button.primary", { type: "button", onclick: again }, "Try again");
    return [el("h1", {}, "The track could not be opened"), problemBox(error), el("div.actions", {}, retry)];
  }
  return [
    el("h1", {}, "This link does not work"),
    el("p", { role: "alert" }, "It has expired, or whoever shared it has withdrawn it. Ask them for a new one."),
    el("p.note", {}, "Code ", el("code", {}, error.code)),
  ];
}
