/** Files of Node for the client, and everything else of `stemyard-client`. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { Client, Separation } from "./client.js";
import type { DownloadOptions, Sink, Stem } from "./downloads.js";
import { TransferError } from "./errors.js";
import type { Source } from "./uploads.js";

export * from "./index.js";

/** How to save. */
export interface SaveOptions extends DownloadOptions {
  /** Whether files with other content may be replaced. One with the same content counts as downloaded. */
  overwrite?: boolean;
}

/** Returns a client by the variables STEMYARD_URL and STEMYARD_API_KEY. Throws an AddressError if they are invalid. */
export function clientFromEnvironment(): Client {
  return new Client({ url: process.env["STEMYARD_URL"] ?? "", key: process.env["STEMYARD_API_KEY"] });
}

/** Returns a file of this machine for `separate` and `upload`, which read it piece by piece. */
export async function openFile(path: string): Promise<Source> {
  const { size } = await stat(path);
  const read = async (start: number, end: number): Promise<ArrayBuffer> => {
    const file = await open(path);
    try {
      const buffer = new ArrayBuffer(end - start);
      let done = 0;
      while (done < buffer.byteLength) {
        const { bytesRead } = await file.read(new Uint8Array(buffer, done), { position: start + done });
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return buffer.slice(0, done);
    } finally {
      await file.close();
    }
  };
  return { name: basename(path), size, type: "", slice: (start, end) => ({ arrayBuffer: () => read(start, end) }) };
}

/**
 * Downloads stems of a completed separation to a folder; returns the path of each.
 *
 * Each goes to a `.part` file, which is continued after an interruption and then renamed. Throws a TransferError if
 * another file is in the way, and otherwise as `Client.download`.
 */
export async function save(
  separation: Separation,
  folder: string,
  options: SaveOptions = {},
): Promise<Record<string, string>> {
  await mkdir(folder, { recursive: true });
  const files = new Map<string, FileSink>();
  const sinkOf = async (stem: Stem): Promise<Sink> => {
    const file = new FileSink(folder, stem, options.overwrite ?? false);
    files.set(stem.stem, file);
    return file;
  };
  const finish = async (stem: string): Promise<[string, string]> => [stem, (await files.get(stem)?.finish()) ?? ""];
  await separation.client.downloadTo(separation.trackId, sinkOf, options);
  return Object.fromEntries(await Promise.all([...files.keys()].map(finish)));
}

/** A stem's file. The name of its part has the object's, which is another for each run of a separation. */
class FileSink implements Sink {
  readonly #path: string;
  readonly #part: string;
  readonly #overwrite: boolean;
  #kept = false;

  constructor(folder: string, stem: Stem, overwrite: boolean) {
    const identity = createHash("sha256").update(new URL(stem.link).pathname).digest("hex").slice(0, 16);
    this.#path = join(folder, stem.name);
    this.#part = join(folder, `.${stem.stem}-${identity}.part`);
    this.#overwrite = overwrite;
  }

  async size(): Promise<number> {
    return (await sizeOf(this.#part)) ?? 0;
  }

  async begin(total: number, tag: string): Promise<boolean> {
    const there = await sizeOf(this.#path);
    if (there !== undefined && !this.#overwrite) {
      if (there !== total) throw this.#inTheWay();
      // stems of one length have one size, whatever is in them; without an MD5, `finish` compares
      this.#kept = tag === `"${await digestOf(this.#path, "md5")}"`;
      if (this.#kept) return false;
    }
    if (total === 0) await this.write(new Uint8Array(), 0);
    return true;
  }

  async write(chunk: Uint8Array, offset: number): Promise<void> {
    const file = await open(this.#part, offset === 0 ? "w" : "r+");
    try {
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done, chunk.length - done, offset + done)).bytesWritten;
      }
    } finally {
      await file.close();
    }
  }

  async finish(): Promise<string> {
    if (this.#kept) return this.#path;
    if (!this.#overwrite) await this.#reserve();
    await rename(this.#part, this.#path);
    return this.#path;
  }

  /** Creates the file, unless one with the same content is there, or another program has created it meanwhile. */
  async #reserve(): Promise<void> {
    try {
      await (await open(this.#path, "wx")).close();
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
      if (!(await haveSameContent(this.#path, this.#part))) throw this.#inTheWay();
    }
  }

  #inTheWay(): TransferError {
    return new TransferError(`${this.#path} exists and is another file; move it, or allow it to be replaced.`);
  }
}

async function haveSameContent(one: string, other: string): Promise<boolean> {
  if ((await sizeOf(one)) !== (await sizeOf(other))) return false;
  return (await digestOf(one, "sha256")) === (await digestOf(other, "sha256"));
}

async function digestOf(path: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
