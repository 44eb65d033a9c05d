/**
 * Node and Electron: each release a folder of its own, a link to the one that runs.
 *
 *     lock             held while a run changes anything
 *     bundles/TREE/    an unpacked release, complete and never changed
 *     current          a link to the bundle that runs; none means the app as installed
 *     staging/         what is being unpacked; may be removed at any time
 *     memory/KEY       what `fileStorage` keeps
 *
 * `current` is replaced by a rename, so whoever follows it sees one whole bundle or the other. Where
 * links cannot be made (Windows without the privilege) it is a file that holds the path instead.
 * A release that is not confirmed before the next start is left by `start` of the updater.
 */

import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import zlib from 'node:zlib';

import { obtain, treeDigest } from './bundle.js';
import { LIMITS, UpdateError, digest } from './core.js';

/** @typedef {import('./bundle.js').Bytes} Bytes */
/** @typedef {import('./bundle.js').Tools} Tools */
/** @typedef {import('./bundle.js').TreeFile} TreeFile */
/** @typedef {import('./types.js').Adapter} Adapter */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Storage} Storage */

const TREE = /^[0-9a-f]{64}$/;
const SMALL = 64 * 1024; // bytes that take less time to inflate than to hand to another thread

/**
 * Hold releases in `folder`, which is one app's alone.
 *
 * @param {object} options
 * @param {string} options.folder
 * @param {readonly string[]} [options.keys] public Capgo keys in PEM
 * @returns {Adapter & { path: () => Promise<string | null> }} `path` is the folder that runs
 */
export function nodeAdapter({ folder, keys }) {
  const home = path.resolve(folder);
  /** @param {string} tree */
  const place = (tree) => path.join(home, 'bundles', tree);
  /** @type {Tools} */
  const tools = { keys, primitives: { inflate }, base: ({ ref }) => folderBase(place(ref)) };
  const current = () => readCurrent(home);
  /** @param {Slot} slot */
  const holds = async (slot) => (await treeOf(place(slot.ref))) === slot.tree;
  return {
    current,
    holds,
    path: async () => {
      const tree = await current();
      return tree && place(tree);
    },
    async stage(plan) {
      const { version, tree } = plan.release;
      const slot = { version, tree: tree.digest, ref: tree.digest };
      if (await holds(slot)) return { ref: slot.ref, via: 'kept', bytes: 0 };
      const staging = path.join(home, 'staging');
      const { via, bytes } = await obtain(plan, folderSink(staging), tools);
      await fs.rm(place(slot.ref), { recursive: true, force: true }); // one that is not whole
      await fs.mkdir(path.join(home, 'bundles'), { recursive: true });
      await fs.rename(staging, place(slot.ref));
      await sync(path.join(home, 'bundles'));
      return { ref: slot.ref, via, bytes };
    },
    switch: (slot) => link(home, slot && slot.ref),
    async keep(slots) {
      const kept = new Set(slots.map((slot) => slot.ref));
      for (const name of await names(path.join(home, 'bundles'))) {
        if (!kept.has(name)) await fs.rm(place(name), { recursive: true, force: true });
      }
    },
    lock: (run) => locked(home, run),
    fetch: revalidating(),
  };
}

/**
 * Remember in files under `folder`, each replaced whole.
 *
 * @param {string} folder
 * @returns {Storage}
 */
export function fileStorage(folder) {
  const home = path.join(path.resolve(folder), 'memory');
  /** @param {string} key */
  const file = (key) => path.join(home, `${encodeURIComponent(key).replace(/[*.]/g, '_')}.txt`);
  return {
    get: (key) => fs.readFile(file(key), 'utf8').catch(absent),
    async set(key, value) {
      await fs.mkdir(home, { recursive: true });
      await write(`${file(key)}.new`, value);
      await fs.rename(`${file(key)}.new`, file(key));
      await sync(home);
    },
    remove: (key) => fs.rm(file(key), { force: true }),
  };
}

/**
 * Inflate raw deflate with zlib; throw unless it ends with the last packed byte.
 *
 * @param {Bytes} packed
 * @param {number} size
 * @returns {Promise<Bytes>}
 */
export async function inflate(packed, size) {
  const options = { info: true, maxOutputLength: Math.max(size, 1) };
  const inflater = packed.length < SMALL ? zlib.inflateRawSync : promisify(zlib.inflateRaw);
  // With `info` it answers so; the types of Node do not know.
  const { buffer, engine } = /** @type {{ buffer: Buffer, engine: { bytesWritten: number } }} */ (
    /** @type {unknown} */ (await inflater(packed, options))
  );
  if (engine.bytesWritten !== packed.length) throw new Error('bytes after its end');
  return new Uint8Array(
    /** @type {ArrayBuffer} */ (buffer.buffer),
    buffer.byteOffset,
    buffer.length,
  );
}

/**
 * Node's `fetch` has no cache: without this, each look at an unchanged manifest would load it whole.
 *
 * @returns {import('./types.js').Fetch}
 */
function revalidating() {
  /** @type {Map<string, { etag: string, body: Bytes }>} */
  const known = new Map();
  return async (url, options) => {
    if (options.cache !== 'no-cache') return fetch(url, options);
    const kept = known.get(url);
    const headers = kept ? { 'If-None-Match': kept.etag } : undefined;
    const answer = await fetch(url, { ...options, headers });
    if (kept && answer.status === 304) return new Response(kept.body);
    const etag = answer.headers.get('ETag');
    if (!etag || !answer.body || answer.status !== 200) return answer;
    const body = answer.body.pipeThrough(copying((body) => known.set(url, { etag, body })));
    // Whoever asked must see where it led.
    return Object.defineProperty(new Response(body), 'url', { value: answer.url });
  };
}

/**
 * Hand on what comes, and in the end all of it if it is no larger than signed documents are.
 *
 * @param {(whole: Bytes) => void} keep
 * @returns {TransformStream<Bytes, Bytes>}
 */
function copying(keep) {
  /** @type {Bytes[]} */
  const chunks = [];
  let size = 0;
  return new TransformStream({
    transform(chunk, to) {
      size += chunk.length;
      if (size <= LIMITS.manifest) chunks.push(chunk);
      to.enqueue(chunk);
    },
    async flush() {
      if (size <= LIMITS.manifest) keep(new Uint8Array(await new Blob(chunks).arrayBuffer()));
    },
  });
}

// --- folders ----------------------------------------------------------------------------------

/** @param {string} folder  @returns {import('./bundle.js').Sink} */
function folderSink(folder) {
  return {
    async start() {
      await fs.rm(folder, { recursive: true, force: true });
      await fs.mkdir(folder, { recursive: true });
    },
    async write(name, data) {
      const file = path.join(folder, ...name.split('/'));
      await fs.mkdir(path.dirname(file), { recursive: true });
      await write(file, data, 'wx'); // exclusively: some file systems fold more names than we do
    },
  };
}

/** @param {string} folder  @returns {import('./bundle.js').Base} */
function folderBase(folder) {
  return {
    files: () => walk(folder, ''),
    read: (name) => contentOf(path.join(folder, ...name.split('/'))),
  };
}

/** Write a file that is on the disk on return. @param {string} file  @param {string | Bytes} data */
async function write(file, data, flags = 'w') {
  const handle = await fs.open(file, flags, 0o644);
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Make the names in a folder durable. @param {string} folder */
async function sync(folder) {
  if (process.platform === 'win32') return; // Windows opens no folders
  const handle = await fs.open(folder);
  await handle.sync().finally(() => handle.close());
}

/** Digest what a folder holds; `null` if it is no tree. @param {string} folder */
async function treeOf(folder) {
  try {
    return await treeDigest(await walk(folder, ''));
  } catch {
    return null;
  }
}

/** @param {string} folder  @param {string} above  @returns {Promise<TreeFile[]>} */
async function walk(folder, above) {
  const files = [];
  for (const item of await fs.readdir(path.join(folder, above), { withFileTypes: true })) {
    const name = above + item.name;
    if (item.isDirectory()) files.push(...(await walk(folder, `${name}/`)));
    else if (item.isFile()) files.push(await described(folder, name));
    else throw new UpdateError('tree', `${name} is a link or a device`);
  }
  return files;
}

/** @param {string} folder  @param {string} name */
async function described(folder, name) {
  const data = await contentOf(path.join(folder, name));
  return { path: name, sha256: await digest(data), size: data.length };
}

/** @param {string} file  @returns {Promise<Bytes>} */
async function contentOf(file) {
  return Uint8Array.from(await fs.readFile(file));
}

/** @param {string} folder  @returns {Promise<string[]>} */
async function names(folder) {
  return (await fs.readdir(folder).catch(absent)) || [];
}

/** @param {NodeJS.ErrnoException} error */
function absent(error) {
  if (error.code !== 'ENOENT') throw error;
  return null;
}

// --- which one runs ---------------------------------------------------------------------------

/** @param {string} home */
async function readCurrent(home) {
  const at = path.join(home, 'current');
  const target = await fs.readlink(at).catch(() => fs.readFile(at, 'utf8').catch(absent));
  const tree = target && path.basename(target.trim().replace(/\\/g, '/'));
  if (!tree || !TREE.test(tree)) return null;
  const found = await fs.stat(path.join(home, 'bundles', tree)).catch(absent);
  return found && found.isDirectory() ? tree : null;
}

/** Let `current` lead elsewhere; other programs see it from here on. @param {string} home  @param {string | null} tree */
async function link(home, tree) {
  const at = path.join(home, 'current');
  if (tree === null) {
    await fs.rm(at, { force: true });
  } else {
    const target = path.join('bundles', tree);
    await fs.rm(`${at}.new`, { force: true });
    await fs.symlink(target, `${at}.new`).catch(() => write(`${at}.new`, target));
    await fs.rename(`${at}.new`, at);
  }
  await sync(home);
}

// --- one run at a time ------------------------------------------------------------------------

/** @type {Map<string, Promise<unknown>>} */
const running = new Map();

/**
 * Run while no other run of this process or another changes `home`; one of another process is
 * `busy`.
 *
 * @template T
 * @param {string} home
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
async function locked(home, run) {
  const before = running.get(home);
  const turn = (before || Promise.resolve()).then(() => alone(home, run));
  const settled = turn.catch(() => {});
  running.set(home, settled);
  return turn;
}

/**
 * @template T
 * @param {string} home
 * @param {() => Promise<T>} run
 */
async function alone(home, run) {
  await fs.mkdir(home, { recursive: true });
  const file = path.join(home, 'lock');
  await take(file).catch(async () => {
    if (await held(file)) throw new UpdateError('busy', `${home} is in use by another run`);
    await fs.rm(file, { force: true }); // of a process that died
    await take(file);
  });
  try {
    return await run();
  } finally {
    await fs.rm(file, { force: true });
  }
}

/** @param {string} file */
function take(file) {
  return fs.writeFile(file, String(process.pid), { flag: 'wx' });
}

/** Tell whether the process that made a lock still runs. @param {string} file */
async function held(file) {
  const made = await fs.stat(file).catch(absent);
  // From before the machine started: by now its number may be anybody's.
  if (!made || made.mtimeMs < Date.now() - os.uptime() * 1000 - 1000) return false;
  const pid = Number(await fs.readFile(file, 'utf8').catch(absent));
  if (!pid || pid === process.pid) return false; // nobody else's: an earlier run of this number
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'; // another user's
  }
}
