/**
 * The JavaScript client: verify what a site says, decide, and drive an update.
 *
 * The rules are those of `docs/format.md`, in its order and with its error codes; the Python client
 * is the reference and the same vectors hold both. How bundles are unpacked and switched belongs to
 * an `Adapter`, where things are remembered to a `Storage`. Times are milliseconds since 1970.
 *
 * The lifecycle: `start()` at each start of the app, `confirm()` once it works; `check()`,
 * `download()`, `apply()` whenever it suits. State is saved after each root, after the manifest's
 * checks, after staging, after the switch and on confirmation, so whatever is cut short goes on.
 */

/* Types: what others implement, and what they are handed. */

/**
 * Where the client remembers. Values are text; `set` replaces a value whole or not at all. Best is
 * a place that the web bundle's own origin cannot rewrite silently.
 * @typedef {object} Storage
 * @property {(key: string) => Promise<string | null>} get
 * @property {(key: string, value: string) => Promise<unknown>} set
 * @property {(key: string) => Promise<unknown>} remove
 */

/**
 * One release on the device. `ref` is the adapter's own name for it, never seen before or the same
 * for the same files: a folder, a cache, a plugin's bundle id.
 * @typedef {{ version: string, tree: string, ref: string, mandatory?: boolean }} Slot
 */

/**
 * What `Adapter.stage` made: its name for it, how it came, and the bytes that took.
 * @typedef {{ ref: string, via: 'bundle' | 'files' | 'patch' | 'kept', bytes: number }} Staged
 */

/**
 * A release to be made ready. `fetch` gives a blob whose stored size and digest are as signed, or
 * throws `store` or `digest`; `patch` applies to the files of `running`.
 * @typedef {object} Plan
 * @property {Release} release
 * @property {Patch | null} patch
 * @property {Slot | null} running
 * @property {boolean} mandatory
 * @property {(blob: string) => string} url  the absolute URL of a blob
 * @property {(payload: Payload) => Promise<Uint8Array<ArrayBuffer>>} fetch
 * @property {(loaded: number, total: number) => void} progress  for adapters that do not `fetch`
 */

/**
 * How a platform holds bundles and switches between them. It decides nothing. Errors are
 * `UpdateError`; whatever else it throws is passed on.
 * @typedef {object} Adapter
 * @property {() => Promise<string | null>} current
 *   The `ref` that runs now; `null` is the built-in app. The one truth about what runs.
 * @property {(slot: Slot) => Promise<boolean>} holds
 *   Whether a staged release is still there whole, as far as the platform can tell.
 * @property {(plan: Plan) => Promise<Staged>} stage
 *   Fetch a release and make it ready beside what runs; throw if a file is not as it was signed.
 * @property {(slot: Slot | null) => Promise<unknown>} switch
 *   Run this release (`null`: the built-in app), at once or from the next start on, or reload and
 *   never return: `current` tells when it has happened.
 * @property {() => Promise<unknown>} [confirm]
 *   Tell the platform that what runs works. Called at every `confirm`, so it may be called often.
 * @property {() => Promise<string[]>} [failed]
 *   The refs that the platform itself switched to and left again. An adapter that has this watches
 *   over trials itself; without it `start` does.
 * @property {(slots: Slot[]) => Promise<unknown>} [keep]
 *   Remove every bundle but these.
 * @property {<T>(run: () => Promise<T>) => Promise<T>} [lock]
 *   Keep other tabs and processes out while `run` changes something.
 */

/**
 * Verify one signature: `message` is what was signed, `spki` the key's DER. Anything but `true` and
 * `false` leaves it to WebCrypto.
 * @callback Verify
 * @param {'ed25519' | 'p256'} algorithm
 * @param {Uint8Array<ArrayBuffer>} spki
 * @param {Uint8Array<ArrayBuffer>} signature  64 bytes
 * @param {Uint8Array<ArrayBuffer>} message
 * @returns {boolean | void | Promise<boolean | void>}
 */

/* Types: documents, as `docs/format.md` has them; times and base64 decoded, defaults filled in. */

/** @typedef {{ keyid: string, sig: Uint8Array<ArrayBuffer> }} Signature */
/** @typedef {{ [name: string]: any }} Json */
/** @typedef {{ signatures: Signature[], signed: Json, json: Json }} Envelope */
/** @typedef {{ blob: string, size: number, plain: string, plain_size: number }} Payload */
/** @typedef {Payload & { base: string }} Patch */
/** @typedef {{ range: string, platform: string | null }} NativeRange */
/** @typedef {{ platforms: string[], native: NativeRange[] }} Audience */
/**
 * @typedef {object} Wrapped
 * @property {Uint8Array<ArrayBuffer>} iv
 * @property {Uint8Array<ArrayBuffer>} session_key
 * @property {Uint8Array<ArrayBuffer>} checksum
 * @property {'v2' | 'v3'} form
 * @property {string} key_id
 */
/**
 * @typedef {object} Release
 * @property {string} app
 * @property {string} version
 * @property {number} issued
 * @property {{ digest: string, files: number, size: number }} tree
 * @property {'capgo' | 'none'} scheme
 * @property {Payload} bundle
 * @property {Wrapped | null} capgo  there under its scheme alone
 * @property {Audience} audience
 * @property {string[]} channels  empty: any
 * @property {string | null} floor
 * @property {string} notes
 */

/** Why something was not done; `code` is stable, the message is for people. */
export class UpdateError extends Error {
  name = 'UpdateError';

  /**
   * @param {string} code  `store`: not there or not reachable; `storage`: cannot remember; `key`:
   *   no key opens it; `no_crypto`: no way to verify; `usage`: called wrongly
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(code, message, options) {
    super(message);
    this.code = code;
    this.cause = options && options.cause;
  }
}

/** Not to be trusted, and nothing was changed because of it; codes as in `docs/format.md`. */
export class VerificationError extends UpdateError {
  name = 'VerificationError';
}

/** Every limit of the protocol that a client meets; bytes unless said. */
export const LIMITS = Object.freeze({
  manifest: 256 * 1024,
  root: 128 * 1024,
  release: 64 * 1024,
  bundle: 2 ** 31 - 1,
  files: 20_000, // per bundle
  path: 512,
  depth: 16, // nested containers
  rootSteps: 64, // per check
  future: 24 * 3600 * 1000, // milliseconds
});

const K = words(
  '428a2f9871374491b5c0fbcfe9b5dba53956c25b59f111f1923f82a4ab1c5ed5d807aa9812835b01243185be550c7dc3' +
    '72be5d7480deb1fe9bdc06a7c19bf174e49b69c1efbe47860fc19dc6240ca1cc2de92c6f4a7484aa5cb0a9dc76f988da' +
    '983e5152a831c66db00327c8bf597fc7c6e00bf3d5a7914706ca63511429296727b70a852e1b21384d2c6dfc53380d13' +
    '650a7354766a0abb81c2c92e92722c85a2bfe8a1a81a664bc24b8b70c76c51a3d192e819d6990624f40e3585106aa070' +
    '19a4c1161e376c082748774c34b0bcb5391c0cb34ed8aa4a5b9cca4f682e6ff3748f82ee78a5636f84c878148cc70208' +
    '90befffaa4506cebbef9a3f7c67178f2',
);
const INITIAL = words('6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19');

/**
 * SHA-256 in hex. Its own code, because WebCrypto has none on plain http and is asynchronous, and
 * `decide` is not; use `digest` for large data.
 * @param {Uint8Array} data
 */
export function sha256(data) {
  const padded = new DataView(new ArrayBuffer((((data.length + 8) >> 6) + 1) << 6));
  new Uint8Array(padded.buffer).set(data);
  padded.setUint8(data.length, 0x80);
  padded.setUint32(padded.byteLength - 8, data.length / 2 ** 29);
  padded.setUint32(padded.byteLength - 4, data.length << 3);
  const state = INITIAL.slice();
  for (let at = 0; at < padded.byteLength; at += 64) compress(state, padded, at);
  return [...state].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/**
 * FIPS 180-4, 6.2.2, for one block.
 * @param {Uint32Array} state  @param {DataView} block  @param {number} at
 */
function compress(state, block, at) {
  const w = new Uint32Array(64);
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    if (t < 16) w[t] = block.getUint32(at + 4 * t);
    else {
      const s0 = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ (w[t - 15] >>> 3);
      const s1 = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ (w[t - 2] >>> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    const t1 = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
    const t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}

/** @param {number} word  @param {number} by */
function turn(word, by) {
  return (word >>> by) | (word << (32 - by));
}

/** @param {string} text */
function words(text) {
  return Uint32Array.from(text.match(/.{8}/g) || [], (word) => parseInt(word, 16));
}

/**
 * SHA-256 in hex, by WebCrypto where there is one.
 * @param {Uint8Array<ArrayBuffer>} data
 * @returns {Promise<string>}
 */
export async function digest(data) {
  const subtle = globalThis.crypto && globalThis.crypto.subtle;
  return subtle ? hex(new Uint8Array(await subtle.digest('SHA-256', data))) : sha256(data);
}

/** Write bytes in hex. @param {Uint8Array} data */
export function hex(data) {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
