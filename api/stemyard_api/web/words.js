// Words: what states, failures and times are called on the page. No DOM, no network.

const PHASES = {
  Pending: "Waiting to start",
  Fetching: "Getting the audio",
  Queued: "Waiting for a free worker",
  Separating: "Separating",
  Suspended: "Paused by whoever runs this service",
};

const STEPS = {
  search: "Looking for the recording",
  download: "Downloading the recording",
  decode: "Reading the audio",
  load: "Loading the model",
  separate: "Pulling the parts apart",
  encode: "Writing the parts",
  upload: "Saving the parts",
};

const REASONS = {
  ConcurrencyLimit: "Others are ahead of it.",
  Unschedulable: "No machine has room for it yet.",
  ImagePull: "The worker is being downloaded.",
  Waiting: "A worker is being found.",
  Retrying: "The last attempt failed; another one follows.",
  Disrupted: "Its worker was moved; another one takes over.",
};

const STEMS = {
  vocals: "Vocals",
  instrumental: "Instrumental",
  drums: "Drums",
  bass: "Bass",
  guitar: "Guitar",
  piano: "Piano",
  other: "Everything else",
};

const OTHER_RECORDING = "Choose another recording, or use the file if you have it.";
const LATER = "Try again in a few minutes. A file of your own always works.";
const DEPLOYER = "Only whoever runs this service can mend this; tell them the code and the id.";

const ADVICE = {
  UNAUTHENTICATED: "Check it for typing errors, or ask whoever runs this service for a new one.",
  FORBIDDEN: "Ask whoever runs this service for a key that may.",
  QUOTA_EXCEEDED: "Wait until one of your separations has ended, or until the day is over.",
  MODEL_NOT_ENABLED: "Choose another model under Options.",
  SOURCE_DISABLED: "Paste the link of an audio file, or choose a file.",
  UPLOAD_MISSING: "Choose the file again.",
  UPLOAD_NOT_FOUND: "Choose the file again.",
  UPLOAD_REFUSED: "Choose the file again. If it keeps failing, tell whoever runs this service.",
  UPLOAD_BLOCKED:
    "Check your connection. If all else works, the store does not accept uploads from this page (its CORS rules).",
  TRACK_NOT_FOUND: "It may have been deleted, or belong to another key.",
  UNREACHABLE: "Check your connection; the page keeps trying where it can.",
  TIMEOUT: "Try again in a moment.",
  UNAVAILABLE: "Try again in a moment.",
  BEING_DELETED: "Try again in a moment.",
  SOURCE_NOT_FOUND: "Try the exact title and the artist, or paste a link.",
  SOURCE_UNAVAILABLE: OTHER_RECORDING,
  SOURCE_LOGIN_REQUIRED: OTHER_RECORDING,
  SOURCE_AGE_RESTRICTED: OTHER_RECORDING,
  SOURCE_GEO_BLOCKED: OTHER_RECORDING,
  SOURCE_DRM: OTHER_RECORDING,
  SOURCE_LIVE: "Choose a recording that has ended.",
  SOURCE_TOO_LONG: "Use a shorter recording.",
  SOURCE_TOO_LARGE: "Use a smaller file, for example an mp3 of it.",
  REQUEST_TOO_LARGE: "Use a smaller file, for example an mp3 of it.",
  SOURCE_TOO_SHORT: "Use a longer recording.",
  SOURCE_UNDECODABLE: "Use an audio file such as mp3, flac, wav or m4a.",
  SOURCE_ADDRESS_REFUSED: "Use a public http or https link, or choose the file.",
  SOURCE_GONE: "Choose the file again.",
  SOURCE_BOT_CHECK: LATER,
  SOURCE_RATE_LIMITED: LATER,
  SOURCE_FORBIDDEN: LATER,
  SOURCE_NETWORK: LATER,
  EXTRACTOR_BROKEN: LATER,
  INTERNAL_CONFIG: DEPLOYER,
  MODEL_MISSING: DEPLOYER,
  MODEL_CORRUPT: DEPLOYER,
  LINK_REFUSED: DEPLOYER,
  CANCELLED: "",
};

/** What a track that is under way is doing, in a few words. */
export function doing(state) {
  const busy = state.phase === "Fetching" || state.phase === "Separating";
  return (busy && STEPS[state.step]) || PHASES[state.phase] || "Working on it";
}

/** Why a track waits, in a sentence, or an empty string. */
export const waiting = (state) => (state.reason ? (REASONS[state.reason] ?? "") : "");

/** What the user can do about a failure, in a sentence, or an empty string. */
export function advice(code, retryable = false) {
  return ADVICE[code] ?? (retryable ? "Trying again often helps." : "");
}

/** A stem's name as people say it. */
export const stemName = (stem) => STEMS[stem] ?? stem;

/** What a quality stands for. */
export const effortName = (quality) => ({ fast: "Fast", balanced: "Balanced", best: "Best, slower" })[quality] ?? quality;

/** Where a stem stands in a list of several. */
export const stemOrder = (stem) => Object.keys(STEMS).indexOf(stem);

/** A position or length: `3:07`, `1:02:03`. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A stretch of time in words: `42 s`, `3 min`, `2 h`. */
export function stretch(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  return whole < 172_800 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86_400)} days`;
}

/** How long ago a moment was, in words. */
export function ago(epochSeconds, now = Date.now() / 1000) {
  const passed = now - epochSeconds;
  return passed < 10 ? "just now" : `${stretch(passed)} ago`;
}

/** What to call a track: its title, or the file's name, or what was asked for. */
export function nameOf(state, query = "") {
  const file = state.metadata?.filename;
  const asked = query || state.query || "";
  return state.title || (typeof file === "string" && file) || (asked.startsWith("upload ") ? "Uploaded file" : asked) || "Track";
}

/** Which kind of source some text is: `link`, or `words`. */
export const kindOf = (text) => (/^https?:\/\/\S+$/i.test(text.trim()) ? "link" : "words");
