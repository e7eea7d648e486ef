// Media session: titles and controls of what plays for keyboards' media keys, headsets and lock screens.
// Source: W3C Media Session.

const SILENCE = new URL("./silence.flac", import.meta.url).href;

/**
 * Announces a track to the system while it plays.
 *
 * Browsers give media keys only to pages with a media element that plays. Stems that are played by an audio clock have none,
 * so silence is played in a loop beside them.
 */
export class MediaControls {
  #silence = null;
  #session = navigator.mediaSession;

  /** `actions` has `play()`, `pause()`, `seekTo(seconds)` and `skip(seconds)`. */
  constructor({ title, artist }, actions, skipSeconds) {
    this.described = { title, artist };
    this.handlers = {
      play: actions.play,
      pause: actions.pause,
      stop: actions.pause,
      seekto: ({ seekTime }) => actions.seekTo(seekTime),
      seekbackward: ({ seekOffset }) => actions.skip(-(seekOffset || skipSeconds)),
      seekforward: ({ seekOffset }) => actions.skip(seekOffset || skipSeconds),
    };
  }

  /** Reports that playback started, paused or moved. */
  report({ playing, position, duration }) {
    if (!this.#session) return;
    if (playing) this.#take();
    if (this.#silence) playing ? this.#silence.play().catch(() => {}) : this.#silence.pause();
    this.#session.playbackState = playing ? "playing" : "paused";
    if (duration > 0) this.#session.setPositionState({ duration, position: Math.min(position, duration), playbackRate: 1 });
  }

  /** Gives the controls back. */
  close() {
    if (!this.#silence) return;
    this.#silence.pause();
    this.#silence.removeAttribute("src");
    this.#silence = null;
    this.#session.metadata = null;
    this.#session.playbackState = "none";
    this.#handle(Object.fromEntries(Object.keys(this.handlers).map((action) => [action, null])));
  }

  #take() {
    if (this.#silence) return;
    this.#silence = document.createElement("audio");
    this.#silence.src = SILENCE;
    this.#silence.loop = true;
    this.#session.metadata = new MediaMetadata(this.described);
    this.#handle(this.handlers);
  }

  #handle(handlers) {
    for (const [action, handler] of Object.entries(handlers)) {
      try {
        this.#session.setActionHandler(action, handler);
      } catch {
        // this browser does not know the action
      }
    }
  }
}
