/** File names of downloaded stems: those that the API and the Python client choose. */

const NAME_LIMIT = 80;

/** Returns the file name of a stem, such as `Artist - Title (Vocals).mp3`. Stem and ending must be plain words. */
export function stemName(
  title: string | undefined,
  artist: string | undefined,
  trackId: string,
  stem: string,
  ending: string,
): string {
  const name = stem.toLowerCase().replace(/(?<![a-z])[a-z]/g, (letter) => letter.toUpperCase());
  return `${safe(song(title, artist, trackId))} (${name}).${ending}`;
}

/** Returns `artist - title`, or the title alone if it contains the artist. */
function song(title: string | undefined, artist: string | undefined, trackId: string): string {
  if (title === undefined) return trackId;
  return !artist || folded(title).includes(folded(artist)) ? title : `${artist} - ${title}`;
}

/** Returns the text without case; in upper case, too, so that `\u00df` is `ss`. */
function folded(text: string): string {
  return text.toUpperCase().toLowerCase();
}

/** Returns the title as a portable file name: no separators, control characters or leading dots. */
function safe(title: string): string {
  const plain = printable(title).replace(/[\\/:*?"<>|]+/g, " ");
  const name = stripped(plain.split(" ").filter(Boolean).join(" "));
  return Array.from(name).slice(0, NAME_LIMIT).join("").replace(/[. ]+$/, "") || "track";
}

function stripped(name: string): string {
  return name.replace(/^[. ]+|[. ]+$/g, "");
}

/** Returns the text with spaces for everything that is neither printable nor a joiner inside a word. */
function printable(text: string): string {
  return text.replace(/((?<=\S)[\u200c\u200d](?=\S))|[\p{C}\p{Z}]/gu, (_, joiner?: string) => joiner ?? " ");
}
