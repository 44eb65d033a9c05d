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
export type Payload = import('./types.js').Payload;
export type Patch = import('./types.js').Patch;
export type Plan = import('./types.js').Plan;
export type Slot = import('./types.js').Slot;
export type Wrapped = import('./types.js').Wrapped;
export type Bytes = import('./types.js').Bytes;
export type TreeFile = {
    path: string;
    sha256: string;
    size: number;
};
export type ContentKey = {
    key: Bytes;
    iv: Bytes;
};
export type Primitives = {
    /**
     * AES-128-CBC with PKCS#7; rejects whatever does not decrypt
     */
    decrypt?: (data: Bytes, key: ContentKey) => Promise<Bytes>;
    /**
     * raw deflate, of which `size` bytes should come; rejects unless the stream ends with the last
     * packed byte
     */
    inflate?: (packed: Bytes, size: number) => Promise<Bytes>;
};
export type Entry = {
    path: string;
    crc32: number;
    size: number;
    method: 0 | 8;
    packed: number;
    offset: number;
};
/**
 * Refuse (`path`) a name that some device cannot hold.
 *
 * @param {string} path
 */
export declare function checkPath(path: string): void;
/**
 * Refuse (`path`) names that cannot all be in one bundle on every device.
 *
 * @param {Iterable<string>} paths
 * @param {Iterable<string>} emptyFolders folders that need hold none of the files
 */
export declare function checkPaths(paths: Iterable<string>, emptyFolders?: Iterable<string>): void;
export type Name = {
    key: string;
    path: string;
};
/**
 * Digest a tree, its files in any order; refuse (`path`) what no tree may hold.
 *
 * @param {Iterable<TreeFile>} files
 */
export declare function treeDigest(files: Iterable<TreeFile>): Promise<string>;
/**
 * Order strings as their UTF-8 is ordered, which beyond U+FFFF is not how JavaScript does it.
 *
 * @param {string} a
 * @param {string} b
 */
export declare function compareUtf8(a: string, b: string): number;
export type DirectoryRecord = {
    entry: Entry;
    name: Bytes;
    at: number;
};
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
export declare function readMembers(archive: Bytes, limit?: number): Entry[];
/**
 * Return the content of an entry, or refuse (`archive`) what is not as declared.
 *
 * @param {Bytes} archive
 * @param {Entry} entry
 * @param {Primitives} [primitives]
 */
export declare function inflate(archive: Bytes, entry: Entry, primitives?: Primitives): Promise<import("./types.js").Bytes>;
export type Base = {
    files: () => Promise<TreeFile[]>;
    read: (path: string) => Promise<Bytes>;
};
export type Target = {
    digest: string;
    size: number;
};
export type Header = {
    base: string;
    target: string;
    listing: number;
    /**
     * the new side's
     */
    fresh: number;
    old: number;
    steps: number;
    plain: number[];
    packed: number[];
};
export type Content = {
    paths: string[];
    size: number;
};
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
export declare function applyPatch(patch: Bytes, base: Base, target: Target, write: (path: string, data: Bytes) => Promise<unknown>, primitives?: Primitives): Promise<TreeFile[]>;
/**
 * Decrypt AES-128-CBC, or refuse (`decrypt`) without saying what was wrong.
 *
 * @param {Bytes} data
 * @param {ContentKey} key
 * @param {Primitives} [primitives]
 * @returns {Promise<Bytes>}
 */
export declare function decrypt(data: Bytes, key: ContentKey, primitives?: Primitives): Promise<Bytes>;
/**
 * Derive the key of another payload of a release, such as a `patch` from the tree `base`.
 *
 * @param {ContentKey} content the release's own key
 * @param {string} kind
 * @param {string} base
 */
export declare function payloadKey(content: ContentKey, kind: string, base: string): ContentKey;
/**
 * Derive a key and its IV: HKDF-SHA-256 (RFC 5869) for 32 bytes, so one block of output.
 *
 * @param {Bytes} secret
 * @param {Record<string, string>} info its members in the order of canonical JSON
 * @returns {ContentKey}
 */
export declare function deriveKey(secret: Bytes, info: Record<string, string>): ContentKey;
export type CapgoKey = {
    modulus: bigint;
    exponent: bigint;
    id: string;
};
/**
 * Read a public Capgo key in PEM, PKCS#1 or SPKI, or throw (`key`).
 *
 * @param {string} pem
 * @returns {CapgoKey}
 */
export declare function parseCapgoKey(pem: string): CapgoKey;
/**
 * Recover what was wrapped with the private half, or refuse (`decrypt`).
 *
 * PKCS#1 v1.5, block type 1: a signature with message recovery over the bare payload.
 *
 * @param {CapgoKey} key
 * @param {Bytes} value
 * @returns {Bytes}
 */
export declare function recover(key: CapgoKey, value: Bytes): Bytes;
/**
 * Recover the content key of a release, or refuse (`decrypt`).
 *
 * @param {CapgoKey} key
 * @param {Wrapped} wrapped
 * @returns {ContentKey}
 */
export declare function unwrap(key: CapgoKey, wrapped: Wrapped): ContentKey;
/**
 * Refuse (`decrypt`, `digest`) wrapped values from which a device does not recover a key and the
 * checksum of the very bundle `plain`.
 *
 * @param {CapgoKey} key
 * @param {Wrapped} wrapped
 * @param {string} plain
 */
export declare function checkWrapped(key: CapgoKey, wrapped: Wrapped, plain: string): void;
export type Sink = {
    start: () => Promise<unknown>;
    write: (path: string, data: Bytes) => Promise<unknown>;
};
export type Tools = {
    keys?: readonly string[];
    primitives?: Primitives;
    base?: (slot: Slot) => Base;
};
export type Way = {
    name: 'bundle' | 'files' | 'patch';
    payload: (plan: Plan, tools: Tools) => Payload | null;
    key: (plan: Plan, content: ContentKey) => ContentKey;
    build: (plan: Plan, plain: Bytes, sink: Sink, tools: Tools) => Promise<TreeFile[]>;
};
/** Cheapest first; the last works for everybody. @type {readonly Way[]} */
export declare const WAYS: readonly Way[];
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
export declare function obtain(plan: Plan, sink: Sink, tools?: Tools, ways?: readonly Way[]): Promise<{
    via: Way['name'];
    bytes: number;
    files: TreeFile[];
}>;
