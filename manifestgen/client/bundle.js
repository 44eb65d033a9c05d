/**
 * From a signed release to checked files, for adapters that do without the stock plugin.
 *
 * In this order: the ways to get a release, cheapest first, the whole bundle last; the stored
 * digest before anything is decrypted; the plain digest after; a zip or a patch read as if an enemy
 * had made it; the digest of the tree before anybody may switch to it. The rules for paths, archives
 * and patches, and the order in which they are tried, are those of `core/paths.py`,
 * `core/archive.py` and `core/patch.py`, where each has its reason.
 *
 * Everything is in memory: an archive or a patch, its plain bytes and one file at a time; of the
 * base of a patch, the files that it copies from.
 */

import {
  LIMITS,
  UpdateError,
  VerificationError,
  digest,
  fromBase64,
  fromUtf8,
  hex,
  sha256,
  utf8,
} from './core.js';

/** @typedef {import('./types.js').Payload} Payload */
/** @typedef {import('./types.js').Patch} Patch */
/** @typedef {import('./types.js').Plan} Plan */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Wrapped} Wrapped */
/** @typedef {import('./types.js').Bytes} Bytes */
/** @typedef {{ path: string, sha256: string, size: number }} TreeFile */
/** An AES-128 key and its IV, 16 bytes each. @typedef {{ key: Bytes, iv: Bytes }} ContentKey */

/**
 * What a platform may lack or do better: by default WebCrypto decrypts, which plain http and very
 * old WebViews do not have, and `DecompressionStream` inflates.
 * @typedef {object} Primitives
 * @property {(data: Bytes, key: ContentKey) => Promise<Bytes>} [decrypt]
 *   AES-128-CBC with PKCS#7; rejects whatever does not decrypt
 * @property {(packed: Bytes, size: number) => Promise<Bytes>} [inflate]
 *   raw deflate, of which `size` bytes should come; rejects unless the stream ends with the last
 *   packed byte
 */

/**
 * A file found in an archive: `packed` bytes of it start at `offset`; method 0 is stored, 8 deflated.
 * @typedef {object} Entry
 * @property {string} path
 * @property {number} crc32
 * @property {number} size
 * @property {0 | 8} method
 * @property {number} packed
 * @property {number} offset
 */

const SEGMENT_BYTES = 255;

/** @param {string} code  @param {string} message  @returns {never} */
function refuse(code, message) {
  throw new VerificationError(code, message);
}

// --- paths ------------------------------------------------------------------------------------

const FORBIDDEN = /[\x00-\x1f\x7f-\x9f\ud800-\udfff\\<>:"|?*]/u;
// `[^]`: the dot would stop at U+2028. Without the flag `u`, so that no letter beyond ASCII counts
// as one of these in another case.
const RESERVED = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.[^]*)?$/i;

/**
 * Refuse (`path`) a name that some device cannot hold.
 *
 * @param {string} path
 */
export function checkPath(path) {
  if (!path) refusePath(path, 'empty');
  if (FORBIDDEN.test(path)) refusePath(path, 'has a forbidden character');
  if (utf8(path).length > LIMITS.path) refusePath(path, 'too long');
  for (const segment of path.split('/')) {
    const fault = segmentFault(segment);
    if (fault) refusePath(path, fault);
  }
}

/**
 * Refuse (`path`) names that cannot all be in one bundle on every device.
 *
 * @param {Iterable<string>} paths
 * @param {Iterable<string>} emptyFolders folders that need hold none of the files
 */
export function checkPaths(paths, emptyFolders = []) {
  /** @type {Name[]} */
  const found = [];
  for (const folder of emptyFolders) {
    checkPath(folder);
    found.push({ key: pathKey(`${folder}/`), path: `${folder}/` });
  }
  const most = found.length + LIMITS.files;
  for (const path of paths) {
    checkPath(path);
    if (found.length === most) refuse('path', `more than the ${LIMITS.files} files allowed`);
    found.push({ key: pathKey(path), path });
  }
  // Sorted, whatever collides stands side by side: a name before all that is in it, since its end
  // sorts first. A table of folders would take gigabytes for some lists of 75 KB, compressed.
  found.sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
  let [before, folders] = [{ key: '', path: '' }, 0];
  for (const name of found) {
    folders += newFolders(before, name);
    before = name;
  }
  if (folders > LIMITS.folders) refuse('path', `more than the ${LIMITS.folders} folders allowed`);
}

/** A path and its key. @typedef {{ key: string, path: string }} Name */

const END = '\0'; // of a segment in a key: no path has it, and nothing sorts before it

/**
 * Count the folders that the second is in and the first is not; refuse two that collide.
 *
 * @param {Name} one
 * @param {Name} other
 */
function newFolders(one, other) {
  if (one.key === other.key && !one.key.endsWith(END)) {
    refusePath(other.path, 'the same file as another on some devices');
  }
  if (other.key.startsWith(one.key + END)) refusePath(one.path, 'a file and a folder of one name');
  const [folders, next] = [one, other].map(({ path }) => path.split('/').slice(0, -1));
  const [keys, nextKeys] = [one, other].map(({ key }) => key.split(END));
  let n = 0;
  for (; n < folders.length && n < next.length && keys[n] === nextKeys[n]; n++) {
    if (folders[n] !== next[n]) refusePath(other.path, 'a folder spelt in two ways');
  }
  return next.length - n;
}

/** @param {string} path */
function pathKey(path) {
  return path.normalize('NFC').toUpperCase().toLowerCase().replace(/\//g, END);
}

/** @param {string} segment */
function segmentFault(segment) {
  if (!segment) return 'starts or ends with `/`, or has two in a row';
  if (segment === '.' || segment === '..') return 'has the segment `.` or `..`';
  if (/[. ]$/.test(segment)) return 'has a segment that ends in a dot or a space';
  if (utf8(segment).length > SEGMENT_BYTES) return 'has a segment that is too long';
  if (RESERVED.test(segment)) return 'has the name of a device on Windows';
  return null;
}

/** @param {string} path @param {string} why @returns {never} */
function refusePath(path, why) {
  refuse('path', `path ${JSON.stringify(path.slice(0, 80))}: ${why}`);
}

// --- trees ------------------------------------------------------------------------------------

/**
 * Digest a tree, its files in any order; refuse (`path`) what no tree may hold.
 *
 * @param {Iterable<TreeFile>} files
 */
export async function treeDigest(files) {
  const ordered = [...files].sort((a, b) => compareUtf8(a.path, b.path));
  checkPaths(ordered.map((file) => file.path));
  // Members in the order of canonical JSON. What it would not spell as `stringify` does (control
  // characters, quotes, lone surrogates) is in no path.
  const listed = ordered.map(({ path, sha256, size }) => ({ path, sha256, size }));
  return digest(utf8(JSON.stringify({ files: listed, type: 'tree.v1' })));
}

/**
 * Order strings as their UTF-8 is ordered, which beyond U+FFFF is not how JavaScript does it.
 *
 * @param {string} a
 * @param {string} b
 */
export function compareUtf8(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** @param {number} unit of UTF-16; surrogates stand for what comes after U+FFFF */
function rank(unit) {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

// --- archives ---------------------------------------------------------------------------------

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const LOCAL_MAGIC = 0x04034b50;
const CENTRAL_MAGIC = 0x02014b50;
const END_MAGIC = 0x06054b50;
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024;
const MAX_RATIO = 1100; // deflate cannot do better than 1032 to 1
const FLAG_UTF8 = 1 << 11;
const FLAG_LEVEL = 0b110;
const DOS_FOLDER = 0x10;
const UNIX_FOLDER = 0o040000;
const UNIX_FILE = 0o100000;
const HARMLESS_EXTRA = new Set([0x5455, 0x000a, 0x5855, 0x7875]);

/** @typedef {{ entry: Entry, name: Bytes, at: number }} DirectoryRecord `at` is where it starts */

/**
 * Find the files of an archive, in its order; `limit` is on their sizes together.
 *
 * Contents are not read yet: `inflate` checks them. Refuses `archive` and `path`.
 *
 * @param {Bytes} archive
 * @param {number} [limit]
 * @returns {Entry[]}
 */
export function readMembers(archive, limit = LIMITS.bundle) {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const { start, records } = readDirectory(archive, view);
  /** @type {Entry[]} */
  const entries = [];
  /** @type {string[]} */
  const folders = [];
  let at = 0;
  let unpacked = 0;
  for (const record of records) {
    if (record.entry.offset !== at) refuseArchive('a file does not start where the last one ends');
    const entry = readLocal(archive, view, record);
    at = entry.offset + entry.packed;
    unpacked += entry.size;
    if (unpacked > limit) refuseArchive(`unpacks to more than the ${limit} bytes allowed`);
    if (entry.path.endsWith('/')) folders.push(entry.path.slice(0, -1));
    else entries.push(entry);
  }
  if (at !== start) refuseArchive('something between the files and the directory');
  if (new Set(folders).size !== folders.length) refuseArchive('names a folder twice');
  checkPaths(
    entries.map((entry) => entry.path),
    folders,
  );
  return entries;
}

/** @param {Bytes} archive @param {DataView} view */
function readDirectory(archive, view) {
  const size = archive.length;
  if (size > LIMITS.bundle) refuseArchive('too large');
  if (size < END_BYTES) refuseArchive('too short to be a zip');
  const end = size - END_BYTES;
  const short = (/** @type {number} */ at) => view.getUint16(end + at, true);
  if (view.getUint32(end, true) !== END_MAGIC || short(20)) {
    refuseArchive('does not end as a zip without a comment does');
  }
  const count = short(10);
  if (short(4) || short(6) || short(8) !== count) {
    refuseArchive('is split over several disks, or zip64');
  }
  const length = view.getUint32(end + 12, true);
  const start = view.getUint32(end + 16, true);
  if (start + length !== end) refuseArchive('the directory does not end where the end record is');
  if (length > MAX_DIRECTORY_BYTES) refuseArchive('a directory that is too large');
  return { start, records: readRecords(archive, view, start, end, count) };
}

/**
 * @param {Bytes} archive
 * @param {DataView} view
 * @param {number} start
 * @param {number} end
 * @param {number} count
 */
function readRecords(archive, view, start, end, count) {
  /** @type {DirectoryRecord[]} */
  const records = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    if (end - at < CENTRAL_BYTES) refuseArchive('the directory is cut short');
    const extraAt = at + CENTRAL_BYTES + view.getUint16(at + 28, true);
    const next = extraAt + view.getUint16(at + 30, true);
    if (view.getUint32(at, true) !== CENTRAL_MAGIC || end < next) {
      refuseArchive('the directory is cut short or damaged');
    }
    const name = archive.subarray(at + CENTRAL_BYTES, extraAt);
    records.push({ entry: readRecord(view, at, name, next), name, at });
    at = next;
  }
  if (at !== end) refuseArchive('bytes left in the directory');
  return records;
}

/** @param {DataView} view @param {number} at @param {Bytes} name @param {number} end */
function readRecord(view, at, name, end) {
  const path = readName(name, view.getUint16(at + 8, true));
  if (view.getUint16(at + 32, true) || view.getUint16(at + 34, true)) {
    refuseArchive('has a comment on a file, or one on another disk');
  }
  checkExtra(view, at + CENTRAL_BYTES + name.length, end);
  const method = view.getUint16(at + 10, true);
  if (method !== 0 && method !== 8) refuseArchive(`packed by method ${method}`);
  /** @type {Entry} */
  const entry = {
    path,
    crc32: view.getUint32(at + 16, true),
    size: view.getUint32(at + 24, true),
    method,
    packed: view.getUint32(at + 20, true),
    offset: view.getUint32(at + 42, true),
  };
  checkSizes(entry);
  checkKind(path, view.getUint32(at + 38, true));
  return entry;
}

/** @param {Bytes} name @param {number} flags */
function readName(name, flags) {
  if (name.length > LIMITS.path + 1) refuseArchive('a name that is too long'); // + a folder's slash
  const path = flags & FLAG_UTF8 ? decodeUtf8(name) : decodeAscii(name);
  if (flags & ~(FLAG_UTF8 | FLAG_LEVEL)) {
    refuseArchive('a file is encrypted, has a data descriptor or another flag');
  }
  return path;
}

/** @param {Bytes} name */
function decodeUtf8(name) {
  try {
    return fromUtf8(name);
  } catch {
    refuseArchive('a name is not in the encoding that it declares');
  }
}

/** @param {Bytes} name */
function decodeAscii(name) {
  if (name.some((byte) => byte > 0x7f)) {
    refuseArchive('a name is not in the encoding that it declares');
  }
  return String.fromCharCode(...name);
}

/** @param {Entry} entry */
function checkSizes(entry) {
  if (entry.path.endsWith('/') && (entry.size || entry.packed || entry.crc32)) {
    refuseArchive('a folder with content');
  }
  if (entry.method === 0 && entry.packed !== entry.size) refuseArchive('stored, with two sizes');
  if (entry.size > entry.packed * MAX_RATIO) {
    refuseArchive(`claims to unpack ${entry.packed} bytes to ${entry.size}`);
  }
}

/** @param {string} path @param {number} attributes */
function checkKind(path, attributes) {
  const folder = path.endsWith('/');
  const kind = (attributes >>> 16) & 0o170000;
  if (kind !== 0 && kind !== (folder ? UNIX_FOLDER : UNIX_FILE)) {
    refuseArchive('a link, device or other kind');
  }
  if (attributes & DOS_FOLDER && !folder) refuseArchive('a file that is marked as a folder');
}

/** @param {DataView} view @param {number} at @param {number} end */
function checkExtra(view, at, end) {
  while (at < end) {
    if (end - at < 4) refuseArchive('a damaged extra field');
    const kind = view.getUint16(at, true);
    if (!HARMLESS_EXTRA.has(kind)) refuseArchive(`the extra field 0x${kind.toString(16)}`);
    at += 4 + view.getUint16(at + 2, true);
  }
  if (at !== end) refuseArchive('a damaged extra field');
}

/**
 * Check a local header; return the entry with the offset of its data.
 *
 * @param {Bytes} archive
 * @param {DataView} view
 * @param {DirectoryRecord} record
 * @returns {Entry}
 */
function readLocal(archive, view, { entry, name, at }) {
  const local = entry.offset;
  if (archive.length - local < LOCAL_BYTES) refuseArchive('cut short');
  const repeats = sameBytes(archive, local + 4, at + 6, 24);
  if (view.getUint32(local, true) !== LOCAL_MAGIC || !repeats) {
    refuseArchive('a local header contradicts the directory');
  }
  const extraAt = local + LOCAL_BYTES + name.length;
  const data = extraAt + view.getUint16(local + 28, true);
  if (data > archive.length) refuseArchive('cut short');
  if (!sameBytes(archive, local + LOCAL_BYTES, at + CENTRAL_BYTES, name.length)) {
    refuseArchive('a local name contradicts the directory');
  }
  checkExtra(view, extraAt, data);
  return { ...entry, offset: data };
}

/** @param {Bytes} bytes @param {number} a @param {number} b @param {number} length */
function sameBytes(bytes, a, b, length) {
  for (let i = 0; i < length; i++) {
    if (bytes[a + i] !== bytes[b + i]) return false;
  }
  return true;
}

/** @param {string} why @returns {never} */
function refuseArchive(why) {
  refuse('archive', `archive: ${why}`);
}

/**
 * Return the content of an entry, or refuse (`archive`) what is not as declared.
 *
 * @param {Bytes} archive
 * @param {Entry} entry
 * @param {Primitives} [primitives]
 */
export async function inflate(archive, entry, primitives = {}) {
  const packed = archive.subarray(entry.offset, entry.offset + entry.packed);
  if (packed.length !== entry.packed) refuseArchive('cut short');
  const data =
    entry.method === 0
      ? packed
      : await inflateRaw(packed, entry.size, primitives).catch((error) =>
          refuseArchive(`a damaged file: ${error.message}`),
        );
  if (data.length !== entry.size) refuseArchive(`${entry.path} has another size than declared`);
  if (crc32(data) !== entry.crc32) refuseArchive(`${entry.path} has another CRC than declared`);
  return data;
}

/**
 * Reject what is no deflate, or holds other than it should.
 *
 * @param {Bytes} packed
 * @param {number} size
 * @param {Primitives} primitives
 */
async function inflateRaw(packed, size, { inflate = inflateStream }) {
  return inflate(packed, size);
}

/** Bytes fed at a time: a bomb then makes 33 MB at most before it is noticed. */
const FEED = 32 * 1024;

/** @param {Bytes} packed @param {number} size @returns {Promise<Bytes>} */
async function inflateStream(packed, size) {
  const data = await inflateLoosely(packed, size);
  // Node 20 says nothing about bytes behind the end. Then the stream also ends without the last one.
  if (!(await endsExactly()) && packed.length && (await inflates(packed.subarray(0, -1), size))) {
    throw new Error('bytes after its end');
  }
  return data;
}

/** @type {Promise<boolean> | undefined} */
let exact;

/** Tell whether `DecompressionStream` refuses bytes behind the end of a stream. */
function endsExactly() {
  exact ??= inflates(new Uint8Array([3, 0, 0]), 0).then((lax) => !lax);
  return exact;
}

/** @param {Bytes} packed @param {number} size */
async function inflates(packed, size) {
  try {
    await inflateLoosely(packed, size);
    return true;
  } catch {
    return false;
  }
}

/** @param {Bytes} packed @param {number} size @returns {Promise<Bytes>} */
async function inflateLoosely(packed, size) {
  const stream = new DecompressionStream('deflate-raw');
  const fed = feed(stream.writable.getWriter(), packed);
  const reader = stream.readable.getReader();
  const data = new Uint8Array(size);
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) throw new Error('more than it declares');
      data.set(value, at);
      at += value.length;
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw error;
  } finally {
    await fed;
  }
  return at === size ? data : data.subarray(0, at);
}

/** Errors are the reader's to see. @param {WritableStreamDefaultWriter<Bytes>} writer @param {Bytes} packed */
async function feed(writer, packed) {
  try {
    for (let at = 0; at < packed.length; at += FEED) {
      await writer.write(packed.subarray(at, at + FEED));
    }
    await writer.close();
  } catch {
    return;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** @param {Bytes} data */
function crc32(data) {
  let crc = ~0;
  for (let i = 0; i < data.length; i++) {
    crc =
      (crc >>> 8) ^
      /** @type {number} */ (CRC_TABLE[(crc ^ /** @type {number} */ (data[i])) & 0xff]);
  }
  return ~crc >>> 0;
}

// --- patches ----------------------------------------------------------------------------------

const PATCH_MAGIC = 'mgpatch1';
const HEADER_BYTES = 128;
const LISTING_BYTES = 16 * 1024 * 1024; // 20,000 of the longest names with their sizes
const NUMBER_BYTES = 5; // 35 bits: a position of either side, with its sign

/**
 * The release that runs, as a patch needs it: its files as they are now, described and read.
 * @typedef {object} Base
 * @property {() => Promise<TreeFile[]>} files
 * @property {(path: string) => Promise<Bytes>} read
 */

/**
 * What a patch is for: `digest` is the tree that is wanted, `size` the most that its files may have
 * together. A release signs both.
 * @typedef {{ digest: string, size: number }} Target
 */

/**
 * What the first 128 bytes declare; sizes are in bytes, `plain` and `packed` by stream: kept,
 * inserts, jumps, copies, literals.
 * @typedef {object} Header
 * @property {string} base
 * @property {string} target
 * @property {number} listing
 * @property {number} fresh the new side's
 * @property {number} old
 * @property {number} steps
 * @property {number[]} plain
 * @property {number[]} packed
 */

/**
 * A content that the base lacks or has elsewhere, and where it belongs.
 * @typedef {{ paths: string[], size: number }} Content
 */

/**
 * Write the files of a target, of those of a base and a patch; return what was written.
 *
 * Refuses `patch`. What came is void if this throws, or if it is not the target: that is the
 * caller's to compare.
 *
 * @param {Bytes} patch
 * @param {Base} base
 * @param {Target} target
 * @param {(path: string, data: Bytes) => Promise<unknown>} write
 * @param {Primitives} [primitives]
 * @returns {Promise<TreeFile[]>}
 */
export async function applyPatch(patch, base, target, write, primitives = {}) {
  const header = readHeader(patch);
  const files = (await base.files()).sort((a, b) => compareUtf8(a.path, b.path));
  checkHeader(header, patch.length, files.length, target.size);
  if (header.base !== (await treeDigest(files)) || header.target !== target.digest) {
    refusePatch('leads from another tree, or to another');
  }
  const [runs, inserts, jumps, copies, literals] = await streams(patch, header, primitives);
  const [kept, gone] = split(files, new Numbers(runs));
  const old = new OldSide(gone, base);
  if (old.size !== header.old) refusePatch(`wants an old side of ${header.old} bytes`);
  const fresh = new NewSide(header, old, literals, [inserts, jumps, copies]);
  const contents = readListing(await fresh.take(header.listing));
  checkTarget(kept, contents, header.fresh - header.listing, target.size);

  /** @type {TreeFile[]} */
  const made = [];
  /** @param {string[]} paths  @param {Bytes} data */
  const put = async (paths, data) => {
    const sha256 = await digest(data);
    for (const path of paths) {
      made.push({ path, sha256, size: data.length });
      await write(path, data);
    }
  };
  for (const { path } of kept) await put([path], await base.read(path));
  for (const { paths, size } of contents) await put(paths, await fresh.take(size));
  fresh.end();
  return made;
}

/** @param {Bytes} patch  @returns {Header} */
function readHeader(patch) {
  const view = new DataView(patch.buffer, patch.byteOffset, patch.length);
  if (patch.length < HEADER_BYTES) refusePatch('is too short');
  if (String.fromCharCode(...patch.subarray(0, 8)) !== PATCH_MAGIC) {
    refusePatch('does not begin as a patch does');
  }
  const numbers = Array.from({ length: 14 }, (_, n) => view.getUint32(72 + 4 * n));
  const [listing, fresh, old, steps, ...pairs] = numbers;
  return {
    ...{ base: hex(patch.subarray(8, 40)), target: hex(patch.subarray(40, 72)) },
    ...{ listing, fresh, old, steps },
    plain: pairs.filter((_, n) => n % 2 === 0),
    packed: pairs.filter((_, n) => n % 2 === 1),
  };
}

/**
 * Refuse, before anything is made of it, what no honest patch between two such trees declares.
 *
 * @param {Header} header  @param {number} length  @param {number} files  @param {number} limit
 */
function checkHeader({ listing, fresh, steps, plain, packed }, length, files, limit) {
  if (length !== packed.reduce((sum, size) => sum + size, HEADER_BYTES)) {
    refusePatch('is not as long as its header adds up to');
  }
  if (listing > Math.min(LISTING_BYTES, fresh) || fresh - listing > limit) {
    refusePatch(`declares ${fresh} bytes, ${limit} are allowed`);
  }
  if (plain.some((size, n) => size > packed[n] * MAX_RATIO)) {
    refusePatch('claims to unpack to more than deflate can');
  }
  const [kept, inserts, jumps, copies, literals] = plain;
  if (kept > NUMBER_BYTES * (files + 1) || literals > fresh) {
    refusePatch('declares more than the trees can hold');
  }
  const filled = (/** @type {number} */ size) => steps <= size && size <= NUMBER_BYTES * steps;
  // Each step makes a byte at least; said here because the columns are inflated whole.
  if (steps > fresh || ![inserts, jumps, copies].every(filled)) {
    refusePatch(`declares columns that ${steps} steps do not fill`);
  }
}

/** @param {Bytes} patch  @param {Header} header  @param {Primitives} primitives */
async function streams(patch, { plain, packed }, primitives) {
  const found = [];
  let at = HEADER_BYTES;
  for (const [n, size] of plain.entries()) {
    const data = await inflateRaw(patch.subarray(at, (at += packed[n])), size, primitives).catch(
      (error) => refusePatch(`is damaged: ${error.message}`),
    );
    if (!packed[n] || data.length !== size) refusePatch('has a stream of another size');
    found.push(data);
  }
  return found;
}

/**
 * Return the files that stay and those that go; runs of both take turns.
 *
 * @param {TreeFile[]} files  @param {Numbers} runs
 */
function split(files, runs) {
  /** @type {[TreeFile[], TreeFile[]]} */
  const sides = [[], []];
  let at = 0;
  for (let n = 0; !runs.done; n++) {
    const run = runs.next();
    if (!run && n) refusePatch('has an empty run of files');
    sides[n % 2].push(...files.slice(at, (at += run)));
  }
  if (at !== files.length) refusePatch(`speaks of ${at} files, the base has ${files.length}`);
  return sides;
}

/** @param {Bytes} data  @returns {Content[]} */
function readListing(data) {
  /** @type {Content[]} */
  const contents = [];
  const lines = listingText(data).split('\n', LIMITS.files + 2); // one too many is seen, not millions
  if (lines.pop() || lines.length > LIMITS.files) refusePatch('has a damaged list');
  for (const line of lines) {
    const [path, size, ...rest] = line.split('\t');
    if (rest.length) refusePatch('has a line in its list that names no file');
    if (size === '=' && contents.length) contents[contents.length - 1].paths.push(path);
    else if (/^(?:0|[1-9][0-9]{0,9})$/.test(size)) contents.push({ paths: [path], size: +size });
    else refusePatch('has a line in its list that names no file');
  }
  return contents;
}

/** @param {Bytes} data */
function listingText(data) {
  try {
    return fromUtf8(data);
  } catch {
    refusePatch('has a name that is not UTF-8');
  }
}

/** @param {TreeFile[]} kept  @param {Content[]} made  @param {number} size  @param {number} limit */
function checkTarget(kept, made, size, limit) {
  const sum = (/** @type {number[]} */ sizes) => sizes.reduce((total, one) => total + one, 0);
  if (sum(made.map((one) => one.size)) !== size) {
    refusePatch('lists files that are not its new side');
  }
  const total =
    sum(kept.map((one) => one.size)) + sum(made.map((one) => one.size * one.paths.length));
  if (total > limit) refusePatch(`makes ${total} bytes, ${limit} are allowed`);
  try {
    checkPaths([...kept.map(({ path }) => path), ...made.flatMap(({ paths }) => paths)]);
  } catch (error) {
    refusePatch(`makes a tree that no device can hold: ${/** @type {Error} */ (error).message}`);
  }
}

/** The files that go, behind a list of their names. */
class OldSide {
  /** @param {TreeFile[]} files  @param {Base} base */
  constructor(files, base) {
    const listing = utf8(files.map(({ path, size }) => `${path}\t${size}\n`).join(''));
    this.files = files;
    this.base = base;
    this.parts = new Map([[0, listing]]); // what was read so far
    this.ends = [listing.length];
    for (const { size } of files) this.ends.push(this.ends[this.ends.length - 1] + size);
    this.size = this.ends[files.length];
  }

  /** Copy what begins at `at`, as much as `into` holds. @param {number} at  @param {Bytes} into */
  async copy(at, into) {
    for (let done = 0; done < into.length; ) {
      const n = firstAbove(this.ends, at + done);
      const part = await this.part(n);
      const start = at + done - (n ? this.ends[n - 1] : 0);
      const piece = part.subarray(start, start + into.length - done);
      into.set(piece, done);
      done += piece.length;
    }
  }

  /** @param {number} n  @returns {Promise<Bytes>} */
  async part(n) {
    const known = this.parts.get(n);
    if (known) return known;
    const { path, size } = this.files[n - 1];
    const data = await this.base.read(path);
    if (data.length !== size) refusePatch(`needs ${path}, which was altered`);
    this.parts.set(n, data);
    return data;
  }
}

/** The new side, as far as it is built. */
class NewSide {
  /**
   * @param {Header} header  @param {OldSide} old  @param {Bytes} literals
   * @param {Bytes[]} columns inserts, jumps, copies
   */
  constructor({ fresh, steps }, old, literals, columns) {
    this.left = fresh; // of all steps to come
    this.steps = steps;
    this.old = old;
    this.literals = literals;
    this.columns = columns.map((column) => new Numbers(column));
    this.insert = this.at = this.copy = this.literal = 0;
  }

  /** Give the next bytes. @param {number} size  @returns {Promise<Bytes>} */
  async take(size) {
    const data = new Uint8Array(size);
    for (let done = 0; done < size; ) {
      if (!this.insert && !this.copy) this.step();
      const inserted = data.subarray(done, done + this.insert);
      inserted.set(this.literals.subarray(this.literal, this.literal + inserted.length));
      this.literal += inserted.length;
      this.insert -= inserted.length;
      done += inserted.length;
      const copied = data.subarray(done, done + this.copy);
      await this.old.copy(this.at, copied);
      this.at += copied.length;
      this.copy -= copied.length;
      done += copied.length;
    }
    return data;
  }

  step() {
    if (!this.steps--) refusePatch('has fewer steps than it needs');
    const [insert, jump, copy] = this.columns.map((column) => column.next());
    this.left -= insert + copy;
    if (this.left < 0 || !(insert + copy)) {
      refusePatch('has a step beyond the new side, or one that does nothing');
    }
    if (this.literal + insert > this.literals.length) refusePatch('has too few literals');
    this.at += insert + (jump % 2 ? -(jump + 1) / 2 : jump / 2);
    if (this.at < 0 || this.at + copy > this.old.size) {
      refusePatch('copies from beyond the old side');
    }
    this.insert = insert;
    this.copy = copy;
  }

  /** Refuse anything that is left. */
  end() {
    const over = this.left || this.steps || this.literal !== this.literals.length;
    if (over || !this.columns.every((column) => column.done)) {
      refusePatch('has something left over');
    }
  }
}

/** Numbers of seven bits a byte, the highest first; all but the last byte have bit 7. */
class Numbers {
  /** @param {Bytes} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  get done() {
    return this.at === this.data.length;
  }

  next() {
    let value = 0;
    for (let length = 1; !this.done; length++) {
      const byte = this.data[this.at++];
      value = value * 128 + (byte & 0x7f); // 35 bits: a shift would cut them off
      // A first byte of 0x80 would be a second spelling of the same number.
      if (length > NUMBER_BYTES || (length === 1 && byte === 0x80)) break;
      if (byte < 0x80) return value;
    }
    return refusePatch('has a number that is cut short or spelt too long');
  }
}

/**
 * Return the index of the first number above `value`.
 * @param {number[]} sorted
 * @param {number} value
 */
function firstAbove(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** @param {string} why  @returns {never} */
function refusePatch(why) {
  refuse('patch', `the patch ${why}`);
}

// --- decryption ------------------------------------------------------------------------------

/**
 * Decrypt AES-128-CBC, or refuse (`decrypt`) without saying what was wrong.
 *
 * @param {Bytes} data
 * @param {ContentKey} key
 * @param {Primitives} [primitives]
 * @returns {Promise<Bytes>}
 */
export async function decrypt(data, key, primitives = {}) {
  const open = primitives.decrypt ?? (await subtleDecrypt(key));
  try {
    return await open(data, key);
  } catch {
    refuse('decrypt', 'it does not decrypt: another key, or altered bytes');
  }
}

/** @param {ContentKey} key @returns {Promise<(data: Bytes) => Promise<Bytes>>} */
async function subtleDecrypt({ key, iv }) {
  const webcrypto = globalThis.crypto && globalThis.crypto.subtle;
  if (!webcrypto) {
    throw new UpdateError('no_crypto', 'crypto.subtle is missing here: pass `primitives.decrypt`');
  }
  const imported = await webcrypto.importKey('raw', key, 'AES-CBC', false, ['decrypt']);
  return async (data) =>
    new Uint8Array(await webcrypto.decrypt({ name: 'AES-CBC', iv }, imported, data));
}

/**
 * Derive the key of another payload of a release, such as a `patch` from the tree `base`.
 *
 * @param {ContentKey} content the release's own key
 * @param {string} kind
 * @param {string} base
 */
export function payloadKey(content, kind, base) {
  return deriveKey(content.key, { base, kind });
}

/**
 * Derive a key and its IV: HKDF-SHA-256 (RFC 5869) for 32 bytes, so one block of output.
 *
 * @param {Bytes} secret
 * @param {Record<string, string>} info its members in the order of canonical JSON
 * @returns {ContentKey}
 */
export function deriveKey(secret, info) {
  const pseudorandom = hmac(utf8('manifestgen/v1'), secret);
  const material = hmac(pseudorandom, joined(utf8(JSON.stringify(info)), Uint8Array.of(1)));
  return { key: material.slice(0, 16), iv: material.slice(16) };
}

/** HMAC-SHA-256 (RFC 2104) with keys of at most a block. @param {Bytes} key  @param {Bytes} data */
function hmac(key, data) {
  const pad = (/** @type {number} */ mask) =>
    Uint8Array.from({ length: 64 }, (_, i) => (i < key.length ? key[i] : 0) ^ mask);
  const inner = fromHex(sha256(joined(pad(0x36), data)));
  return fromHex(sha256(joined(pad(0x5c), inner)));
}

/** @param {Bytes} a  @param {Bytes} b */
function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

// --- Capgo's RSA ------------------------------------------------------------------------------

/** @typedef {{ modulus: bigint, exponent: bigint, id: string }} CapgoKey */

const RSA_BYTES = 256; // the stock plugin takes no other modulus
const RSA_OID = '06092a864886f70d0101010500'; // rsaEncryption and its NULL

/**
 * Read a public Capgo key in PEM, PKCS#1 or SPKI, or throw (`key`).
 *
 * @param {string} pem
 * @returns {CapgoKey}
 */
export function parseCapgoKey(pem) {
  const found =
    /^\s*-----BEGIN (RSA )?PUBLIC KEY-----([\sA-Za-z0-9+/=]+)-----END \1?PUBLIC KEY-----\s*$/.exec(
      pem,
    );
  if (!found) throw badKey('not a public key in PEM');
  try {
    const der = fromBase64(/** @type {string} */ (found[2]).replace(/\s/g, ''));
    return readRsaKey(found[1] ? der : unwrapSpki(der));
  } catch (error) {
    throw error instanceof UpdateError ? error : badKey('not a public key in PEM');
  }
}

/** @param {Bytes} der @returns {CapgoKey} */
function readRsaKey(der) {
  const [inside, rest] = readDer(der, 0x30);
  const [modulus, after] = readDer(inside, 0x02);
  const [exponent, end] = readDer(after, 0x02);
  if (rest.length || end.length) throw badKey('not an RSA key');
  // A leading zero keeps the number positive.
  if (
    modulus.length !== RSA_BYTES + 1 ||
    modulus[0] !== 0 ||
    !(/** @type {number} */ (modulus[1]) & 0x80)
  ) {
    throw badKey('not an RSA-2048 key; the plugin accepts no other');
  }
  if (exponent.length > 4) throw badKey('an RSA exponent that is too large');
  return {
    modulus: toNumber(modulus),
    exponent: toNumber(exponent),
    id: toBase64(der).slice(0, 20),
  };
}

/** @param {Bytes} der */
function unwrapSpki(der) {
  const [inside, rest] = readDer(der, 0x30);
  const [algorithm, after] = readDer(inside, 0x30);
  const [bits, end] = readDer(after, 0x03);
  if (rest.length || end.length || hex(algorithm) !== RSA_OID || bits[0] !== 0) {
    throw badKey('not an RSA-2048 key; the plugin accepts no other');
  }
  return bits.subarray(1);
}

/**
 * Read one DER value of a tag; return its content and what follows.
 *
 * @param {Bytes} der
 * @param {number} tag
 * @returns {[Bytes, Bytes]}
 */
function readDer(der, tag) {
  const first = der[1] ?? 0;
  const width = first < 0x80 ? 0 : first & 0x7f;
  if (der[0] !== tag || width > 2) throw badKey('not a public key');
  const size = width ? Number(toNumber(der.subarray(2, 2 + width))) : first;
  const start = 2 + width;
  if (der.length < start + size) throw badKey('a public key that is cut short');
  return [der.subarray(start, start + size), der.subarray(start + size)];
}

/** @param {string} why */
function badKey(why) {
  return new UpdateError('key', `the Capgo key: ${why}`);
}

/**
 * Recover what was wrapped with the private half, or refuse (`decrypt`).
 *
 * PKCS#1 v1.5, block type 1: a signature with message recovery over the bare payload.
 *
 * @param {CapgoKey} key
 * @param {Bytes} value
 * @returns {Bytes}
 */
export function recover(key, value) {
  const number = toNumber(value);
  if (value.length !== RSA_BYTES || number >= key.modulus) refuseWrap();
  const block = fromNumber(power(number, key.exponent, key.modulus), RSA_BYTES);
  const end = block.indexOf(0, 2);
  const padded = end >= 10 && block.subarray(2, end).every((byte) => byte === 0xff);
  if (block[0] !== 0 || block[1] !== 1 || !padded) refuseWrap();
  return block.slice(end + 1);
}

/** @returns {never} */
function refuseWrap() {
  refuse('decrypt', 'this Capgo key did not wrap it, or it was altered');
}

/** @param {bigint} base @param {bigint} exponent @param {bigint} modulus */
function power(base, exponent, modulus) {
  let result = 1n;
  for (; exponent; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % modulus;
    base = (base * base) % modulus;
  }
  return result;
}

/**
 * Recover the content key of a release, or refuse (`decrypt`).
 *
 * @param {CapgoKey} key
 * @param {Wrapped} wrapped
 * @returns {ContentKey}
 */
export function unwrap(key, wrapped) {
  if (wrapped.key_id !== key.id) {
    refuse('decrypt', `encrypted for the Capgo key ${wrapped.key_id}, this one is ${key.id}`);
  }
  const content = { key: recover(key, wrapped.session_key), iv: Uint8Array.from(wrapped.iv) };
  if (content.key.length !== 16 || content.iv.length !== 16) {
    refuse('decrypt', 'an AES-128 key and IV are 16 bytes each');
  }
  return content;
}

/**
 * Refuse (`decrypt`, `digest`) wrapped values from which a device does not recover a key and the
 * checksum of the very bundle `plain`.
 *
 * @param {CapgoKey} key
 * @param {Wrapped} wrapped
 * @param {string} plain
 */
export function checkWrapped(key, wrapped, plain) {
  unwrap(key, wrapped);
  // The v2 form reads the hex digits as if they were base64: Capgo's slip, kept by old devices.
  const expected = wrapped.form === 'v2' ? hex(fromBase64(plain)) : plain;
  if (hex(recover(key, wrapped.checksum)) !== expected) {
    refuse('digest', "the wrapped checksum is another bundle's");
  }
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** @param {Uint8Array} bytes */
function toNumber(bytes) {
  return BigInt(`0x${hex(bytes) || '0'}`);
}

/** @param {bigint} number  @param {number} length */
function fromNumber(number, length) {
  return fromHex(number.toString(16).padStart(length * 2, '0'));
}

/** @param {string} digits  @returns {Bytes} */
function fromHex(digits) {
  return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
}

// --- getting a release ------------------------------------------------------------------------

/**
 * Where files go. `start` makes it empty, before each way.
 * @typedef {object} Sink
 * @property {() => Promise<unknown>} start
 * @property {(path: string, data: Bytes) => Promise<unknown>} write
 */

/**
 * What a platform has to offer: public Capgo keys in PEM, one of which fits; its own ways to do
 * things; the files of a release that it holds. Without `base` no patch is used.
 * @typedef {object} Tools
 * @property {readonly string[]} [keys]
 * @property {Primitives} [primitives]
 * @property {(slot: Slot) => Base} [base]
 */

/**
 * One way to get a release: a payload (`null` where the way does not apply), its key, and how its
 * plain bytes make a tree.
 * @typedef {object} Way
 * @property {'bundle' | 'files' | 'patch'} name
 * @property {(plan: Plan, tools: Tools) => Payload | null} payload
 * @property {(plan: Plan, content: ContentKey) => ContentKey} key
 * @property {(plan: Plan, plain: Bytes, sink: Sink, tools: Tools) => Promise<TreeFile[]>} build
 */

/** @type {Way} */
const FROM_RUNNING = {
  name: 'patch',
  payload({ patch, running, release }, { base }) {
    return patch && running && base && patch.size < release.bundle.size ? patch : null;
  },
  key: ({ patch }, content) => payloadKey(content, 'patch', /** @type {Patch} */ (patch).base),
  build({ release, running }, plain, sink, { base, primitives }) {
    const from = /** @type {(slot: Slot) => Base} */ (base)(/** @type {Slot} */ (running));
    return applyPatch(plain, from, release.tree, sink.write, primitives);
  },
};

/** @type {Way} */
const WHOLE_BUNDLE = {
  name: 'bundle',
  payload: ({ release }) => release.bundle,
  key: (_, content) => content,
  build: unpack,
};

/** Cheapest first; the last works for everybody. @type {readonly Way[]} */
export const WAYS = [FROM_RUNNING, WHOLE_BUNDLE];

/**
 * Get a release by the first way that works, its files checked and in `sink`.
 *
 * Throws `key` if it is encrypted and no key was given, else what was wrong with the last way.
 *
 * @param {Plan} plan
 * @param {Sink} sink
 * @param {Tools} [tools]
 * @param {readonly Way[]} [ways]
 * @returns {Promise<{ via: Way['name'], bytes: number, files: TreeFile[] }>}
 */
export async function obtain(plan, sink, tools = {}, ways = WAYS) {
  const content = contentKey(plan, tools);
  const applicable = ways.filter((way) => way.payload(plan, tools));
  for (const way of applicable.slice(0, -1)) {
    try {
      return await take(plan, way, content, sink, tools);
    } catch {
      continue; // what this way could not do, a dearer one may
    }
  }
  return take(plan, applicable[applicable.length - 1], content, sink, tools);
}

/**
 * @param {Plan} plan
 * @param {Way} way
 * @param {ContentKey | null} content
 * @param {Sink} sink
 * @param {Tools} tools
 */
async function take(plan, way, content, sink, tools) {
  const { release } = plan;
  const payload = /** @type {Payload} */ (way.payload(plan, tools));
  const stored = await plan.fetch(payload); // its digest is compared there, before anything else
  const plain = await opened(payload, stored, content && way.key(plan, content), tools);
  await sink.start();
  const files = await way.build(plan, plain, sink, tools);
  if ((await treeDigest(files)) !== release.tree.digest) {
    refuse('tree', `the ${way.name} of ${release.version} holds other files than were signed`);
  }
  return { via: way.name, bytes: payload.size, files };
}

/** @param {Plan} plan  @param {Tools} tools */
function contentKey({ release: { capgo, version } }, { keys = [] }) {
  if (!capgo) return null;
  const parsed = keys.map(parseCapgoKey);
  const key = parsed.find((one) => one.id === capgo.key_id) || parsed[0];
  if (!key) throw new UpdateError('key', `release ${version} is encrypted, and no key was given`);
  return unwrap(key, capgo);
}

/**
 * @param {Payload} payload
 * @param {Bytes} stored
 * @param {ContentKey | null} key
 * @param {Tools} tools
 */
async function opened(payload, stored, key, { primitives }) {
  const plain = key ? await decrypt(stored, key, primitives) : stored;
  if (plain.length !== payload.plain_size || (await digest(plain)) !== payload.plain) {
    refuse('digest', `blob ${payload.blob.slice(0, 12)} holds other bytes than were signed`);
  }
  return plain;
}

/**
 * @param {Plan} plan
 * @param {Bytes} archive
 * @param {Sink} sink
 * @param {Tools} tools
 */
async function unpack({ release }, archive, sink, { primitives }) {
  /** @type {TreeFile[]} */
  const files = [];
  for (const entry of readMembers(archive, release.tree.size)) {
    const data = await inflate(archive, entry, primitives);
    files.push({ path: entry.path, sha256: await digest(data), size: entry.size });
    await sink.write(entry.path, data);
  }
  return files;
}
