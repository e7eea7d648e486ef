// Words: texts for states, failures and times. No DOM, no network.

const PHASES = {
  Pending: "Waiting to start",
  Fetching: "Getting the audio",
  Queued: "Waiting for a free worker",
  Separating: "Separating",
  Suspended: "Paused by the service's operator",
};

const STEPS = {
  search: "Looking for the recording",
  download: "Downloading the recording",
  decode: "Reading the audio",
  load: "Loading the model",
  separate: "Separating the stems",
  encode: "Encoding the stems",
  upload: "Publishing the stems",
};

const PUBLISHING = new Set(["encode", "upload"]);

/** Stages of a track in their order, by phase; the last steps of separating are a stage of their own. */
export const STAGES = [
  ["Pending", "Waiting"],
  ["Fetching", "Fetching"],
  ["Queued", "Queued"],
  ["Separating", "Separating"],
  ["Publishing", "Publishing"],
];

/** Returns the position in STAGES of a track under way. */
export function stageOf(state) {
  const publishing = state.phase === "Separating" && PUBLISHING.has(state.step);
  return STAGES.findIndex(([phase]) => phase === (publishing ? "Publishing" : state.phase));
}

const REASONS = {
  ConcurrencyLimit: "Others are ahead in the queue.",
  Unschedulable: "No machine has enough free resources yet.",
  ImagePull: "The worker is being downloaded.",
  Waiting: "A worker is being assigned.",
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
const DEPLOYER = "Only the service's operator can fix this; send them the code and the id.";

const ADVICE = {
  UNAUTHENTICATED: "Check it for typing errors, or ask the service's operator for a new one.",
  FORBIDDEN: "Ask the service's operator for a key with this permission.",
  QUOTA_EXCEEDED: "Wait until one of your separations has ended, or until the day is over.",
  MODEL_NOT_ENABLED: "Choose another model under Options.",
  SOURCE_DISABLED: "Paste the link of an audio file, or choose a file.",
  UPLOAD_MISSING: "Choose the file again.",
  UPLOAD_NOT_FOUND: "Choose the file again.",
  UPLOAD_REFUSED: "Choose the file again. If it keeps failing, contact the service's operator.",
  FILE_UNREADABLE: "Choose the file again.",
  UPLOAD_BLOCKED:
    "Check your connection. If it works, the store's CORS rules do not allow uploads from this page.",
  TRACK_NOT_FOUND: "It may have been deleted, or belong to another key.",
  SHARE_ENDED: "Ask whoever sent it to you for a new link.",
  TRACK_NOT_COMPLETED: "It is being separated again; come back in a few minutes.",
  UNREACHABLE: "Check your connection; the page keeps retrying where possible.",
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
  OBJECT_NOT_FOUND: "Check the object's key; the object may have been moved or deleted.",
  SOURCE_BOT_CHECK: LATER,
  SOURCE_RATE_LIMITED: LATER,
  SOURCE_FORBIDDEN: LATER,
  SOURCE_NETWORK: LATER,
  EXTRACTOR_BROKEN: LATER,
  NOT_CONFIGURED: DEPLOYER,
  INTERNAL_CONFIG: DEPLOYER,
  MODEL_MISSING: DEPLOYER,
  MODEL_CORRUPT: DEPLOYER,
  LINK_REFUSED: DEPLOYER,
  IDEMPOTENCY_MISMATCH: "Reload the page and send the request again.",
  INVALID_REQUEST: "Correct the request, then send it again.",
  NOT_FOUND: "Check the address.",
  METHOD_NOT_ALLOWED: "Reload the page: the service has been updated.",
  HEADERS_TOO_LARGE: "Delete the cookies of this site.",
  UNSUPPORTED_ENCODING: "Reload the page. If it happens again, a proxy alters the requests.",
  CLAIMS_FULL: "Choose other options.",
  WEBHOOK_EXISTS: "Use the webhook that is registered.",
  WEBHOOK_LIMIT: "Delete a webhook that is no longer used.",
  NAME_CONFLICT: DEPLOYER,
  TRACK_COMPLETED: "Open the track: its parts are ready.",
  DISRUPTED: "Try again, at best later.",
  QUEUE_DEADLINE: "Try again when fewer are waiting.",
  CANCELLED: "Try again if you want it after all.",
};

/** Returns the current step of a track under way. */
export function doing(state) {
  const busy = state.phase === "Fetching" || state.phase === "Separating";
  return (busy && STEPS[state.step]) || PHASES[state.phase] || "Working on it";
}

/** Returns why a track waits, or an empty string. */
export const waiting = (state) => (state.reason ? (REASONS[state.reason] ?? "") : "");

/** Returns what the user can do about a failure. Each code of a failure that no retry can end has an entry above. */
export function advice(code, retryable = false) {
  return ADVICE[code] ?? (retryable ? "Trying again often helps." : DEPLOYER);
}

/** Returns a stem's display name. */
export const stemName = (stem) => STEMS[stem] ?? stem;

/** Returns a quality's display name. */
export const effortName = (quality) => ({ fast: "Fast", balanced: "Balanced", best: "Best, slower" })[quality] ?? quality;

/** Returns how a track's stems are encoded: `mp3 320 kbit/s`, `flac 24 bit`; empty if unknown. */
export function encodingOf(job) {
  if (!job.format) return "";
  if (job.bit_depth) return `${job.format} ${job.bit_depth} bit`;
  return job.vbr_quality === undefined ? `${job.format} ${job.bitrate} kbit/s` : `${job.format} V${job.vbr_quality}`;
}

/** Returns a stem's position in lists. */
export const stemOrder = (stem) => Object.keys(STEMS).indexOf(stem);

/** Formats a size: `312 KiB`, `4.1 MiB`. */
export const size = (bytes) => (bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`);

/** Formats a position or duration: `3:07`, `1:02:03`. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Formats a time span: `42 s`, `3 min`, `2 h`. */
export function stretch(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  return whole < 172_800 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86_400)} days`;
}

/** Formats the day of a time. */
export const day = (epochSeconds) => new Date(epochSeconds * 1000).toLocaleDateString(undefined, { dateStyle: "long" });

/** Formats how long ago a time was. */
export function ago(epochSeconds, now = Date.now() / 1000) {
  const passed = now - epochSeconds;
  return passed < 10 ? "just now" : `${stretch(passed)} ago`;
}

/** Returns a track's name: its title, its file's name or its query. */
export function nameOf(state, query = "") {
  const file = state.metadata?.filename;
  const requested = query || state.query || "";
  return state.title || (typeof file === "string" && file) || (requested.startsWith("upload ") ? "Uploaded file" : requested) || "Track";
}

/** Returns the kind of source of a text: `link` or `words`. */
export const kindOf = (text) => (/^https?:\/\/\S+$/i.test(text.trim()) ? "link" : "words");
