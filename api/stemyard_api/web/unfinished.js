// Unfinished: remembers on this device which uploads in parts were begun, so that a reload of the page does not lose them.

const PREFIX = "stemyard.upload.";

/** Remembers the upload of a file until it expires. */
export function remember(file, { upload_id, expires_at }) {
  localStorage.setItem(nameOf(file), JSON.stringify({ upload_id, expires_at, name: file.name }));
}

/** Returns the id of a file's upload, or undefined. */
export const remembered = (file) => entry(nameOf(file))?.upload_id;

/** Forgets the upload of a file. */
export const forget = (file) => localStorage.removeItem(nameOf(file));

/** Forgets all uploads. */
export const forgetAll = () => names().forEach((name) => localStorage.removeItem(name));

/** Returns the names of the files whose uploads can be continued. */
export const unfinished = () => names().flatMap((name) => entry(name)?.name ?? []);

const nameOf = (file) => `${PREFIX}${file.size}.${file.lastModified}.${file.name}`;

const names = () => Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));

function entry(name) {
  const found = JSON.parse(localStorage.getItem(name));
  if (!found || found.expires_at * 1000 > Date.now()) return found;
  localStorage.removeItem(name);
  return null;
}
