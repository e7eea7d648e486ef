// Waveform: draws the waveform of a stem as bars.

import { svg } from "./elements.js";

const HEIGHT = 64;
const STEP = 4;

/**
 * Returns the peak level of each of `count` segments, 0 to 1.
 *
 * `peaks` is the JSON of `audiowaveform`, version 2: pairs of minimum and maximum.
 */
export function levelsOfPeaks(peaks, count) {
  const scale = 2 ** (peaks.bits - 1) - 1;
  const pairs = peaks.data.length / 2;
  return segments(pairs, count, (pair) => Math.max(Math.abs(peaks.data[2 * pair]), Math.abs(peaks.data[2 * pair + 1])) / scale);
}

/** Returns the same levels of decoded audio. */
export function levelsOfAudio(buffer, count) {
  const samples = buffer.getChannelData(0);
  return segments(samples.length, count, (sample) => Math.abs(samples[sample]));
}

function segments(length, count, level) {
  const every = Math.max(1, Math.floor(length / count / 500)); // 500 samples of each segment are enough
  return Array.from({ length: count }, (_, index) => {
    let most = 0;
    const end = Math.floor(((index + 1) * length) / count);
    for (let place = Math.floor((index * length) / count); place < end; place += every) most = Math.max(most, level(place));
    return most;
  });
}

/** Returns two images of the same bars: unplayed and played. */
export function bars(levels, loudest = 1) {
  const lines = levels.map((level, index) => {
    const half = Math.max(0.75, (level / (loudest || 1)) * (HEIGHT / 2 - 3));
    return `M${index * STEP + STEP / 2} ${(HEIGHT / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
  });
  return ["rest", "played"].map((part) => {
    const picture = svg("svg", {
      class: part,
      viewBox: `0 0 ${levels.length * STEP} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    picture.append(svg("path", { d: lines.join("") }));
    return picture;
  });
}
