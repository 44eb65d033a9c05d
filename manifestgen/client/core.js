/**
 * Whom to believe, and what to do: the rules of `docs/format.md`, in its order and with its error
 * codes. The Python client is the reference and the same vectors hold both.
 *
 * Nothing here fetches or remembers. Times are milliseconds since 1970.
 */

/**
 * @import {
 *   Audience, Bytes, Decision, Device, Envelope, Json, Key, Keyring, Manifest, Memory, Offer,
 *   Payload, Release, Role, Rollout, Root, Seen, Trusted, Verify, Wrapped
 * } from './types.js'
 */

/** Why something was not done; `code` is stable, the message is for people. */
export class UpdateError extends Error {
  name = 'UpdateError';

  /**
   * @param {string} code  `store`: not there or not reachable; `storage`: cannot remember; `key`:
   *   no key opens it; `no_crypto`: no way to verify; `usage`: called wrongly
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(code, message, cause) {
    super(message);
    this.code = code;
    this.cause = cause;
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
  folders: 20_000, // per bundle
  path: 512,
  depth: 16, // nested containers
  rootSteps: 64, // per check
  future: 24 * 3600 * 1000, // milliseconds
});

// FIPS 180-4, 4.2.2 and 5.3.3: the first 32 bits after the point of roots of primes, which a double
// holds with bits to spare.
const PRIMES = [...Array(312).keys()].filter(
  (n) => n > 1 && ![...Array(n).keys()].some((d) => d > 1 && n % d === 0),
);
const K = Uint32Array.from(PRIMES, (prime) => Math.cbrt(prime) * 2 ** 32);
const INITIAL = Uint32Array.from(PRIMES.slice(0, 8), (prime) => Math.sqrt(prime) * 2 ** 32);

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

/**
 * SHA-256 in hex, by WebCrypto where there is one.
 * @param {Bytes} data
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

/** Read base64. @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Write UTF-8. @param {string} text */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/** Read UTF-8, or throw: it is the one form of its text. @param {Uint8Array} data */
export function fromUtf8(data) {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
}

/* Canonical JSON: RFC 8785 over a restricted profile, `docs/format.md` section 3. */

/** @param {string} message  @returns {never} */
function refuse(message, code = 'format') {
  throw new VerificationError(code, message);
}

// Keys are never data, and `__proto__` is none. Control characters hide in terminals, lone
// surrogates (all that `u` leaves of that range) have no UTF-8.
const KEY = /^[a-z][a-z0-9_]*$/;
const FORBIDDEN = /[\0-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]/u;

/**
 * Write the canonical text of a value, or throw `format` if it has none.
 * @param {unknown} value
 * @returns {string}
 */
export function encode(value, depth = 1) {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  // For strings of this profile JSON.stringify escapes what the RFC escapes.
  if (typeof value === 'string' && !FORBIDDEN.test(value)) return JSON.stringify(value);
  if (typeof value !== 'object') refuse('a value outside the profile');
  if (depth > LIMITS.depth) refuse(`nested more than ${LIMITS.depth} deep`);
  if (Array.isArray(value)) return `[${value.map((item) => encode(item, depth + 1)).join()}]`;
  const object = /** @type {Json} */ (value);
  const members = Object.keys(object).sort(); // ASCII, so every order is the RFC's
  return `{${members.map((key) => `${checkKey(key)}:${encode(object[key], depth + 1)}`).join()}}`;
}

/** @param {string} key */
function checkKey(key) {
  return KEY.test(key) ? `"${key}"` : refuse('a key that is not lowercase a-z, 0-9 and _');
}

/**
 * Read canonical JSON of at most `limit` bytes; anything that is not byte for byte its own canonical
 * form is refused (`format`, `too_large`). That covers duplicate keys, 1.0, -0 and what JSON.parse
 * rounds, because none of these is written as it was read.
 * @param {Uint8Array} data  @param {number} limit
 */
export function decode(data, limit) {
  if (data.length > limit) refuse(`more than the ${limit} bytes allowed`, 'too_large');
  let text, value;
  try {
    text = fromUtf8(data);
    value = JSON.parse(text);
  } catch (error) {
    refuse('not JSON'); // deep nesting, too, where a parser recurses
  }
  if (encode(value) !== text) refuse('not in canonical form');
  return value;
}

/* Reading documents: after these nobody checks again. Unknown members are ignored. */

const DIGEST = /^[0-9a-f]{64}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const APP = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;
const CHANNEL = /^[a-z0-9][a-z0-9-]{0,63}$/;
const RESERVED = /^(?:root|releases|blobs|client|history|con|prn|aux|nul|(?:com|lpt)[1-9])$/;
const PLATFORM = /^[a-z][a-z0-9-]{0,31}$/;

/** The members of one JSON object at path `at`. */
export class Reader {
  /** @param {unknown} value  @param {string} at */
  constructor(value, at) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      refuse(`${at}: want an object`);
    }
    this.value = /** @type {Json} */ (value);
    this.at = at;
  }

  /** @param {string} name  @returns {never} */
  fail(name, want = 'something else') {
    return refuse(`${this.at}.${name}: want ${want}`);
  }

  /** @param {string} name */
  has(name) {
    return Object.prototype.hasOwnProperty.call(this.value, name); // `constructor` is no member
  }

  /** @param {string} name */
  get(name) {
    return this.has(name) ? this.value[name] : this.fail(name);
  }

  /** @param {string} name  @param {RegExp | ((text: string) => unknown)} rule  @returns {string} */
  text(name, rule, want = 'text of a certain form') {
    const value = this.get(name);
    return isText(value, rule) ? value : this.fail(name, want);
  }

  /** @param {string} name  @param {number} low  @param {number} high  @returns {number} */
  integer(name, low, high = Number.MAX_SAFE_INTEGER) {
    const value = this.get(name);
    if (typeof value === 'number' && value >= low && value <= high) return value;
    return this.fail(name, `an integer from ${low} to ${high}`);
  }

  /** @param {string} name */
  flag(name) {
    const value = this.has(name) ? this.value[name] : false;
    return typeof value === 'boolean' ? value : this.fail(name, 'true or false');
  }

  /** @param {string} name */
  digest(name) {
    return this.text(name, DIGEST, '64 lowercase hex digits');
  }

  /** @param {string} name */
  time(name) {
    return Date.parse(this.text(name, isTime, 'a time as YYYY-MM-DDTHH:MM:SSZ'));
  }

  /** @param {string} name  @param {number} [size] */
  bytes(name, size) {
    const data = fromBase64(this.text(name, isBase64, 'padded base64'));
    return size === undefined || data.length === size ? data : this.fail(name, `${size} bytes`);
  }

  /**
   * @template T
   * @param {string} name  @param {number} most  @param {(value: unknown, at: string) => T} item
   */
  list(name, most, item) {
    const value = this.get(name);
    if (!Array.isArray(value) || value.length > most) this.fail(name, `a list of at most ${most}`);
    return /** @type {unknown[]} */ (value).map((one, n) => item(one, `${this.at}.${name}[${n}]`));
  }

  /** @param {string} name  @param {number} most  @param {RegExp | ((text: string) => unknown)} rule */
  texts(name, most, rule) {
    return this.list(name, most, (value, at) =>
      isText(value, rule) ? value : refuse(`${at}: want text of a certain form`),
    );
  }

  /** @param {string} name */
  object(name) {
    return new Reader(this.get(name), `${this.at}.${name}`);
  }
}

/**
 * @param {unknown} value  @param {RegExp | ((text: string) => unknown)} rule
 * @returns {value is string}
 */
function isText(value, rule) {
  return typeof value === 'string' && !!(rule instanceof RegExp ? rule.test(value) : rule(value));
}

/** @param {string} text */
function isTime(text) {
  const moment = TIME.test(text) ? Date.parse(text) : NaN;
  // Parsers make March of 30 February and a new day of hour 24; and there is no year 0.
  return (
    moment >= -62135596800000 && new Date(moment).toISOString() === text.slice(0, -1) + '.000Z'
  );
}

/** @param {string} text */
function isBase64(text) {
  try {
    return btoa(atob(text)) === text; // one value, one spelling
  } catch (error) {
    return false;
  }
}

/** Tell whether a channel may be called this. @param {string} name */
export function isChannel(name) {
  return CHANNEL.test(name) && !RESERVED.test(name);
}

/* Versions and ranges: at most 15 digits a number, so a double holds it. */

const NUMBER = '(0|[1-9][0-9]{0,14})';
const IDENTIFIER = '(?:0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)';
const PRE = `(?:-(${IDENTIFIER}(?:\\.${IDENTIFIER})*))?`;
const VERSION = new RegExp(`^${NUMBER}\\.${NUMBER}\\.${NUMBER}${PRE}$`);
const LOOSE = /^([0-9]{1,15})(?:\.([0-9]{1,15}))?(?:\.([0-9]{1,15}))?(?:\.[0-9]+)*$/;
const COMPARATOR = new RegExp(`^(>=|<=|>|<|=)${NUMBER}(?:\\.${NUMBER})?(?:\\.${NUMBER}${PRE})?$`);

/** Tell whether text is a semantic version without build metadata. @param {string} text */
export function isVersion(text) {
  return text.length <= 64 && VERSION.test(text);
}

/**
 * Read what app stores call a version (`3`, `3.1`, `3.1.0.4`), or return `null`.
 * @param {string} text
 */
export function nativeVersion(text) {
  if (isVersion(text)) return text;
  const found = text.length <= 64 && LOOSE.exec(text);
  return found
    ? found
        .slice(1, 4)
        .map((part) => Number(part || 0))
        .join('.')
    : null;
}

/**
 * Order two versions as semver does: below, at or above 0.
 * @param {string} a  @param {string} b
 */
export function compareVersions(a, b) {
  const [x, y] = [a, b].map((text) => /** @type {string[]} */ (VERSION.exec(text)));
  for (const n of [1, 2, 3]) if (x[n] !== y[n]) return Number(x[n]) - Number(y[n]);
  if (!x[4] || !y[4]) return Number(!x[4]) - Number(!y[4]); // a pre-release is below its release
  const [left, right] = [x[4].split('.'), y[4].split('.')];
  const n = left.findIndex((part, at) => part !== right[at]);
  if (n < 0 || n >= right.length) return left.length - right.length;
  return compareIdentifiers(left[n], right[n]);
}

/** @param {string} a  @param {string} b */
function compareIdentifiers(a, b) {
  const [x, y] = [Number(/^\d+$/.test(a)), Number(/^\d+$/.test(b))];
  if (x !== y) return y - x; // numbers are below words
  return x ? Number(a) - Number(b) : a < b ? -1 : 1;
}

/** @param {string} text */
function comparator(text) {
  const found = COMPARATOR.exec(text);
  // People disagree about what is missing under these three.
  if (!found || (found[4] === undefined && !['>=', '<'].includes(found[1]))) return null;
  const version =
    `${found[2]}.${found[3] || 0}.${found[4] || 0}` + (found[5] ? `-${found[5]}` : '');
  return { sign: found[1], version };
}

/** Tell whether text is a range such as `>=3 <4`. @param {string} text */
export function isRange(text) {
  const parts = text.split(' ');
  return text.length <= 128 && parts.length <= 4 && parts.every(comparator);
}

/** Tell whether every comparator of a range holds. @param {string} range  @param {string} version */
export function admits(range, version) {
  return range.split(' ').every((part) => {
    const { sign, version: bound } = /** @type {{sign: string, version: string}} */ (
      comparator(part)
    );
    const order = compareVersions(version, bound);
    if (order === 0) return sign.includes('=');
    return sign[0] === (order < 0 ? '<' : '>');
  });
}

/* Keys and signatures. */

const P256 = '3059301306072a8648ce3d020106082a8648ce3d03010703420004';
const ED25519 = '302a300506032b6570032100';
const ALGORITHM = { ed25519: { name: 'Ed25519' }, p256: { name: 'ECDSA', namedCurve: 'P-256' } };

// Points of order 1, 2, 4 and 8, and other spellings of them, without the sign bit: under such a
// "key" one signature verifies for many messages.
const SMALL_ORDER =
  /^(?:0[01](?:00){31}|e[cde](?:ff){30}7f|26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05|c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a)$/;

/**
 * Recognise a key by its DER, or throw `format`.
 * @param {Bytes} spki
 * @returns {Key}
 */
export function readKey(spki) {
  const text = hex(spki);
  const keyid = sha256(spki);
  if (text.startsWith(P256) && spki.length === 91) {
    if (!onCurve(text.slice(-128, -64), text.slice(-64))) refuse('no point of the curve P-256');
    return { algorithm: 'p256', keyid, spki };
  }
  if (!text.startsWith(ED25519) || spki.length !== 44)
    refuse('neither Ed25519 nor P-256 in SPKI DER');
  const unsigned = text.slice(-64, -2) + hex(Uint8Array.of(spki[43] & 0x7f));
  if (SMALL_ORDER.test(unsigned)) refuse('an Ed25519 key of small order');
  return { algorithm: 'ed25519', keyid, spki };
}

/**
 * SEC 1, 3.2.2.1; said here because an injected verifier may not look.
 * @param {string} xText  @param {string} yText
 */
function onCurve(xText, yText) {
  const p = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
  const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
  const [x, y] = [BigInt('0x' + xText), BigInt('0x' + yText)];
  return x < p && y < p && (y * y - (x * x * x - 3n * x + b)) % p === 0n;
}

/**
 * Tell whether a signature is this key's over `message`, or throw `no_crypto`.
 * @param {Key} key  @param {Bytes} signature
 * @param {Bytes} message  @param {Verify} [verify]
 */
export async function verifies(key, signature, message, verify) {
  if (signature.length !== 64) return false;
  const said = verify && (await verify(key.algorithm, key.spki, signature, message));
  if (typeof said === 'boolean') return said;
  const imported = await importKey(key);
  if (!imported) return false;
  const algorithm = { ...ALGORITHM[key.algorithm], hash: 'SHA-256' };
  return crypto.subtle.verify(algorithm, imported, signature, message);
}

/** @param {Key} key  @returns {Promise<CryptoKey | null>} */
async function importKey(key) {
  const { subtle } = globalThis.crypto || {};
  /** @param {Bytes} spki */
  const load = (spki) =>
    subtle.importKey('spki', spki, ALGORITHM[key.algorithm], false, ['verify']);
  try {
    key.imported = key.imported || load(key.spki);
    return await key.imported;
  } catch (error) {
    // Is it this key or every key? The point here is Ed25519's base point.
    const known = Uint8Array.from(
      fromBase64('MCowBQYDK2VwAyEAWGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY='),
    );
    if (key.algorithm === 'ed25519' && subtle && (await load(known).catch(() => null))) return null;
    throw new UpdateError(
      'no_crypto',
      `this browser cannot verify ${key.algorithm}: pass \`verify\``,
    );
  }
}

/* Documents. */

/** @param {unknown} value  @param {string} at  @returns {Envelope} */
export function readEnvelope(value, at) {
  const read = new Reader(value, at);
  // Anything beside the two would be signed by nobody.
  if (Object.keys(read.value).length !== 2) refuse(`${at}: want \`signatures\` and \`signed\``);
  const signatures = read.list('signatures', 32, (item, path) => {
    const one = new Reader(item, path);
    return { keyid: one.digest('keyid'), sig: one.bytes('sig') };
  });
  return { signatures, signed: read.object('signed').value, json: read.value };
}

/**
 * Read a stored document, or throw `format` or `too_large`; whom to believe is not checked.
 * @param {Uint8Array} data  @param {number} limit
 */
export function readDocument(data, limit) {
  return readEnvelope(decode(data, limit), '$');
}

/** @param {Envelope} envelope  @param {string} kind */
function expect(envelope, kind) {
  const found = new Reader(envelope.signed, '$.signed').text('type', /^[a-z]+\.v[0-9]{1,4}$/, kind);
  if (found !== kind) refuse(`a ${found} document where ${kind} is wanted`, 'type');
}

/** @param {Json} signed  @returns {Root} */
function readRoot(signed) {
  const read = new Reader(signed, '$.signed');
  const roles = read.object('roles');
  const list = read.list('keys', 64, readKeyOfRoot);
  const root = {
    app: read.text('app', APP, 'an app id'),
    number: read.integer('number', 1),
    issued: read.time('issued'),
    expires: read.time('expires'),
    max_days: read.integer('max_days', 1, 3660),
    keys: new Map(list.map((key) => [key.keyid, key])),
    roles: {
      root: readRole(roles.object('root')),
      release: readRole(roles.object('release')),
      manifest: roles.list('manifest', 64, readDelegation),
    },
  };
  const names = root.roles.manifest.flatMap((entry) => entry.channels);
  const used = [root.roles.root, root.roles.release, ...root.roles.manifest].flatMap(
    (role) => role.keys,
  );
  if (root.keys.size !== list.length) read.fail('keys', 'no key twice');
  if (!used.every((key) => root.keys.has(key))) read.fail('roles', 'only keys among `keys`');
  if (new Set(names).size !== names.length) read.fail('roles.manifest', 'no channel twice');
  if (root.expires <= root.issued) read.fail('expires', 'a time after issued');
  return root;
}

/** @param {unknown} value  @param {string} at */
function readKeyOfRoot(value, at) {
  const read = new Reader(value, at);
  const key = readKey(read.bytes('public'));
  if (read.get('algorithm') !== key.algorithm) read.fail('algorithm', "the key's own");
  if (read.get('keyid') !== key.keyid) read.fail('keyid', 'the SHA-256 of the key');
  return key;
}

/** @param {Reader} read  @returns {Role} */
function readRole(read) {
  const keys = read.texts('keys', 64, DIGEST);
  if (!keys.length || new Set(keys).size !== keys.length) read.fail('keys', 'some, and none twice');
  return { keys, threshold: read.integer('threshold', 1, keys.length) };
}

/** @param {unknown} value  @param {string} at */
function readDelegation(value, at) {
  const read = new Reader(value, at);
  const channels = read.texts('channels', 64, (text) => text === '*' || CHANNEL.test(text));
  return { channels, ...readRole(read) };
}

/** @param {Json} signed  @returns {Release} */
export function readRelease(signed) {
  const read = new Reader(signed, '$.signed');
  const scheme = read.text('scheme', PLATFORM, 'a scheme');
  if (scheme !== 'none' && scheme !== 'capgo') refuse(`unknown scheme ${scheme}`, 'scheme');
  const tree = read.object('tree');
  /** @type {Release} */
  const release = {
    app: read.text('app', APP, 'an app id'),
    version: read.text('version', isVersion, 'a semantic version'),
    issued: read.time('issued'),
    tree: {
      digest: tree.digest('digest'),
      files: tree.integer('files', 1, LIMITS.files),
      size: tree.integer('size', 0, LIMITS.bundle),
    },
    scheme,
    bundle: readPayload(read.object('bundle')),
    capgo: scheme === 'capgo' ? readWrapped(read.object('capgo')) : null,
    audience: readAudience(read),
    channels: read.has('channels') ? read.texts('channels', 64, isChannel) : [],
    floor: read.has('floor') ? read.text('floor', isVersion, 'a semantic version') : null,
    notes: read.has('notes') ? read.text('notes', (text) => utf8(text).length <= 512) : '',
    files: read.has('files') ? readPayload(read.object('files')) : null,
  };
  // An empty list would read as "anywhere" to some and "nowhere" to others.
  if (read.has('channels') && !release.channels.length) read.fail('channels', 'one at least');
  if (scheme === 'none' && release.bundle.blob !== release.bundle.plain)
    read.fail('bundle', 'no plain');
  if (release.files && release.files.blob !== release.files.plain) read.fail('files', 'no plain');
  return release;
}

/** @param {Reader} read  @returns {Payload} */
function readPayload(read) {
  return {
    blob: read.digest('blob'),
    size: read.integer('size', 0, LIMITS.bundle),
    plain: read.digest('plain'),
    plain_size: read.integer('plain_size', 0, LIMITS.bundle),
  };
}

/** Read what opens a bundle under `capgo`. @param {Reader} read  @returns {Wrapped} */
export function readWrapped(read) {
  return {
    iv: read.bytes('iv', 16),
    session_key: read.bytes('session_key', 256),
    checksum: read.bytes('checksum', 256),
    form: /** @type {'v2' | 'v3'} */ (read.text('form', /^v[23]$/, '`v2` or `v3`')),
    key_id: read.text('key_id', /^[A-Za-z0-9+/]{20}$/, '20 characters of base64'),
  };
}

/** @param {Reader} read  @returns {Audience} */
function readAudience(read) {
  const platforms = read.has('platforms') ? read.texts('platforms', 16, PLATFORM) : [];
  if (read.has('platforms') && !platforms.length) read.fail('platforms', 'one at least');
  const native = read.has('native') ? read.list('native', 16, readNative) : [];
  return { platforms, native };
}

/** @param {unknown} value  @param {string} at */
function readNative(value, at) {
  const read = new Reader(value, at);
  const range = read.text('range', isRange, 'a range such as `>=3 <4`');
  const platform = read.has('platform') ? read.text('platform', PLATFORM, 'a platform') : null;
  return { range, platform };
}

const FULL = 10_000; // every device, in basis points

/** @param {Json} signed  @returns {Manifest} */
function readManifest(signed) {
  const read = new Reader(signed, '$.signed');
  const manifest = {
    app: read.text('app', APP, 'an app id'),
    channel: read.text('channel', isChannel, 'a channel name'),
    sequence: read.integer('sequence', 1),
    issued: read.time('issued'),
    expires: read.time('expires'),
    root: read.integer('root', 1),
    offers: read.list('offers', 16, readOffer),
    withdrawn: read.texts('withdrawn', 64, isVersion),
    paused: read.flag('paused'),
  };
  if (read.has('previous')) read.digest('previous');
  if (manifest.expires <= manifest.issued) read.fail('expires', 'a time after issued');
  return manifest;
}

/** @param {unknown} value  @param {string} at  @returns {Offer} */
function readOffer(value, at) {
  const read = new Reader(value, at);
  return {
    release: readEnvelope(read.get('release'), `${at}.release`),
    rollout: readRollout(
      read.has('rollout') ? read.value.rollout : { share: FULL },
      `${at}.rollout`,
    ),
    audience: readAudience(read),
    mandatory: read.flag('mandatory'),
    patches: read.has('patches') ? read.list('patches', 16, readPatch) : [],
  };
}

/** @param {unknown} value  @param {string} at */
function readPatch(value, at) {
  const read = new Reader(value, at);
  return { base: read.digest('base'), ...readPayload(read) };
}

/**
 * Read a rollout; a ramp has all three of `first`, `start` and `end`.
 * @param {unknown} value  @returns {Rollout}
 */
export function readRollout(value, at = '$') {
  const read = new Reader(value, at);
  const share = read.integer('share', 0, FULL);
  const salt = read.has('salt')
    ? read.text('salt', /^[\x20-\x7e]{1,64}$/, '1 to 64 of ASCII')
    : null;
  if (!['first', 'start', 'end'].some((name) => read.has(name))) return { share, ramp: null, salt };
  const first = read.integer('first', 0, share);
  const ramp = { first, start: read.time('start'), end: read.time('end') };
  if (ramp.end <= ramp.start) read.fail('end', 'a time after start');
  return { share, ramp, salt };
}

/* Whom to believe: the checks of `docs/format.md` section 10, in its order. */

/**
 * Throw `signature` unless a role's threshold signed; a key counts once, and what is not the role's
 * or not valid counts for nothing.
 * @param {Keyring} keyring  @param {Envelope} envelope  @param {string} kind  @param {Role} [role]
 */
async function checkSignatures({ root, verify }, envelope, kind, role) {
  if (!role) return refuse('no key may sign for this channel', 'signature');
  // DSSE's pre-authentication encoding: a signature for one kind never serves as another.
  const [type, payload] = [
    `application/vnd.manifestgen.${kind}+json`,
    utf8(encode(envelope.signed)),
  ];
  const head = utf8(`DSSEv1 ${type.length} ${type} ${payload.length} `);
  const message = new Uint8Array(head.length + payload.length);
  message.set(head);
  message.set(payload, head.length);
  const valid = new Set();
  for (const { keyid, sig } of envelope.signatures) {
    const key = role.keys.includes(keyid) && !valid.has(keyid) && root.keys.get(keyid);
    if (key && (await verifies(key, sig, message, verify))) valid.add(keyid);
  }
  if (valid.size < role.threshold) {
    refuse(`${valid.size} of ${role.threshold} trusted keys signed this ${kind}`, 'signature');
  }
}

/**
 * Verify a root: the next one after `previous`, or without it the one an app was built with, which
 * must be signed by its own threshold.
 * @param {Uint8Array} data  @param {{ previous?: Keyring, verify?: Verify }} [options]
 * @returns {Promise<Keyring>}
 */
export async function verifyRoot(data, { previous, verify = previous && previous.verify } = {}) {
  const envelope = readDocument(data, LIMITS.root);
  expect(envelope, 'root.v1');
  if (previous) await checkSignatures(previous, envelope, 'root.v1', previous.root.roles.root);
  const keyring = { root: readRoot(envelope.signed), verify };
  const { root } = keyring;
  await checkSignatures(keyring, envelope, 'root.v1', root.roles.root);
  if (!previous) return keyring;
  const { number, app } = previous.root;
  if (root.number !== number + 1) refuse(`root ${root.number} cannot follow ${number}`, 'root_gap');
  if (root.app !== app) refuse(`root ${root.number} is for ${root.app}, not ${app}`, 'wrong_app');
  return keyring;
}

/**
 * Throw `root_expired` unless the root is alive; for the newest root only.
 * @param {Keyring} keyring  @param {number} now
 */
export function checkRootFresh({ root }, now) {
  if (now >= root.expires)
    refuse(`root ${root.number} expired on ${day(root.expires)}`, 'root_expired');
}

/**
 * Return the root number that an unverified manifest names, to walk the chain before it.
 * @param {Uint8Array} data
 */
export function namedRoot(data) {
  const envelope = readDocument(data, LIMITS.manifest);
  expect(envelope, 'manifest.v1');
  return new Reader(envelope.signed, '$.signed').integer('root', 1);
}

/**
 * Verify a manifest of a channel and the releases in it; freshness is `checkFresh`'s.
 * @param {Keyring} keyring  @param {Uint8Array} data  @param {string} channel
 * @returns {Promise<Trusted>}
 */
export async function verifyManifest(keyring, data, channel) {
  const { root } = keyring;
  const envelope = readDocument(data, LIMITS.manifest);
  expect(envelope, 'manifest.v1');
  await checkSignatures(keyring, envelope, 'manifest.v1', manifestRole(root, channel));
  const manifest = readManifest(envelope.signed);
  if (manifest.app !== root.app) refuse(`for ${manifest.app}, not ${root.app}`, 'wrong_app');
  if (manifest.channel !== channel)
    refuse(`for ${manifest.channel}, not ${channel}`, 'wrong_channel');
  if (manifest.root > root.number)
    refuse(`names root ${manifest.root}, not to be had`, 'root_unknown');
  if (manifest.expires - manifest.issued > root.max_days * 86400_000) {
    refuse(`lives longer than the ${root.max_days} days root allows`, 'lifetime');
  }
  const releases = [];
  for (const offer of manifest.offers) releases.push(await candidate(keyring, offer.release));
  return { manifest, releases, seen: seenOf(envelope, manifest) };
}

/**
 * Read a manifest accepted earlier; `null` unless this root still stands behind it. Nothing but its
 * threshold is asked again.
 * @param {Keyring} keyring  @param {Uint8Array} data  @param {string} channel
 */
export async function remembered(keyring, data, channel) {
  try {
    const envelope = readDocument(data, LIMITS.manifest);
    const manifest = readManifest(envelope.signed);
    if (manifest.channel !== channel) return null;
    await checkSignatures(keyring, envelope, 'manifest.v1', manifestRole(keyring.root, channel));
    return { ...seenOf(envelope, manifest), expires: manifest.expires };
  } catch (error) {
    if (error instanceof VerificationError) return null;
    throw error;
  }
}

/** @param {Envelope} envelope  @param {Manifest} manifest  @returns {Seen} */
function seenOf(envelope, { sequence, issued }) {
  return { sequence, digest: sha256(utf8(encode(envelope.signed))), issued };
}

/** @param {Root} root  @param {string} channel */
function manifestRole({ roles }, channel) {
  // An entry by name replaces the `*` entry, so a channel can be taken out of those keys' hands.
  const named = [channel, '*'].map((name) =>
    roles.manifest.find((one) => one.channels.includes(name)),
  );
  return named[0] || named[1];
}

/**
 * Verify a release, stored or embedded.
 * @param {Keyring} keyring  @param {Envelope} envelope
 */
export async function verifyRelease(keyring, envelope) {
  expect(envelope, 'release.v1');
  await checkSignatures(keyring, envelope, 'release.v1', keyring.root.roles.release);
  const release = readRelease(envelope.signed);
  if (release.app !== keyring.root.app) refuse(`release for ${release.app}`, 'wrong_app');
  return release;
}

/** @param {Keyring} keyring  @param {Envelope} envelope */
export async function candidate(keyring, envelope) {
  try {
    return await verifyRelease(keyring, envelope);
  } catch (error) {
    if (error instanceof VerificationError) return error;
    throw error;
  }
}

/**
 * Throw unless a manifest may replace the one seen last.
 * @param {Trusted} trusted
 * @param {{ seen: Seen | null, now: number, rootIssued: number, runningIssued?: number }} known
 *   `rootIssued`: the newest root's time; a clock behind it is plainly wrong and says nothing about
 *   the future. `runningIssued`: the running release's; where no manifest is remembered it says how
 *   late it must be, for expiry alone
 */
export function checkFresh({ manifest, seen: fresh }, { seen, now, rootIssued, runningIssued }) {
  const { sequence, issued, expires } = manifest;
  if (seen && sequence < seen.sequence) {
    refuse(`manifest ${sequence} is older than ${seen.sequence}, already seen`, 'replay');
  }
  if (seen && sequence === seen.sequence && fresh.digest !== seen.digest) {
    refuse(`a second manifest ${sequence}, with another content`, 'equivocation');
  }
  if (issued - now > LIMITS.future && now >= rootIssued) {
    refuse(`the manifest was issued in the future, ${day(issued)}`, 'future');
  }
  const least = seen ? seen.issued : runningIssued;
  if (Math.max(now, least ?? now) >= expires) refuse(`the manifest expired on ${day(expires)}`, 'expired');
}

/**
 * Return the time to go by: the device's, but never before the newest accepted `issued`.
 * @param {number} now  @param {Seen | null} seen
 */
export function clock(now, seen) {
  return seen ? Math.max(now, seen.issued) : now;
}

/** @param {number} moment */
function day(moment) {
  return new Date(moment).toISOString().slice(0, 10);
}

/* What a device does: `docs/format.md` section 12. */

/**
 * Decide what a device does; `now` is `clock`'s time.
 * @param {Trusted} trusted  @param {Device} device  @param {Memory} memory  @param {number} now
 * @returns {Decision}
 */
export function decide({ manifest, releases }, device, memory, now) {
  if (manifest.paused) return { action: 'nothing', reason: 'paused', verdicts: [] };
  let winner = -1;
  const verdicts = manifest.offers.map((offer, n) => {
    const release = releases[n];
    if (release instanceof Error) return { version: null, reason: 'untrusted' };
    if (winner >= 0) return { version: release.version, reason: 'not_reached' };
    const reason = refusal(manifest, offer, release, device, memory, now);
    if (!reason) winner = n;
    return { version: release.version, reason: reason || 'admitted' };
  });
  const [builtin, floor] = [
    (device.builtin && nativeVersion(device.builtin)) || '0.0.0',
    memory.floor,
  ];
  const version = memory.running ? memory.running.version : builtin;
  const withdrawn = manifest.withdrawn.includes(version);
  /** @param {string} reason  @returns {Decision} */
  const nothing = (reason) => ({ action: 'nothing', reason, verdicts });

  if (winner < 0) {
    if (!memory.running || !withdrawn) return nothing('no_offer');
    if (floor && compareVersions(builtin, floor) < 0) return nothing('floor');
    if (manifest.withdrawn.includes(builtin)) return nothing('builtin');
    return { action: 'reset', verdicts };
  }
  const { patches, mandatory, release: envelope } = manifest.offers[winner];
  const release = /** @type {Release} */ (releases[winner]);
  const lower = compareVersions(release.version, version) < 0;
  if (release.version === version) return nothing('current');
  if (lower && !withdrawn && !memory.moved) return nothing('lower');
  if (floor && compareVersions(release.version, floor) < 0) return nothing('floor');
  const base = memory.running && memory.running.tree;
  const patch = patches.find((one) => one.base === base) || null;
  return { action: 'install', release, envelope, patch, mandatory, verdicts };
}

/**
 * Return why an offer does not admit a device, or `null` if it does.
 * @param {Manifest} manifest  @param {Offer} offer  @param {Release} release
 * @param {Device} device  @param {Memory} memory  @param {number} now
 */
function refusal({ channel, withdrawn }, offer, release, device, memory, now) {
  if (release.channels.length && !release.channels.includes(channel)) return 'channel';
  if (withdrawn.includes(release.version)) return 'withdrawn';
  const outside = excludes(release.audience, device) || excludes(offer.audience, device);
  if (outside) return outside;
  if ((memory.failed || []).includes(release.tree.digest)) return 'failed';
  return reaches(offer.rollout, release.version, device.id, now) ? null : 'rollout';
}

/** @param {Audience} audience  @param {Device} device */
function excludes({ platforms, native }, device) {
  const platform = device.platform === undefined ? null : device.platform;
  if (platforms.length && !(platform !== null && platforms.includes(platform))) return 'platform';
  // A range for some platform may be meant for this very device.
  if (platform === null && native.some((one) => one.platform !== null)) return 'platform';
  const version = typeof device.native === 'string' ? nativeVersion(device.native) : null;
  const applying = native.filter((one) => one.platform === null || one.platform === platform);
  const inside = applying.every((one) => version !== null && admits(one.range, version));
  return inside ? null : 'native';
}

/** @param {Rollout} rollout  @param {string} version  @param {string | null | undefined} id  @param {number} now */
function reaches(rollout, version, id, now) {
  const share = shareAt(rollout, now);
  // A lone surrogate has no UTF-8, and each language puts other bytes in its place: no id.
  if (typeof id !== 'string' || /[\ud800-\udfff]/u.test(id)) return share === FULL;
  return position(rollout.salt === null ? version : rollout.salt, id) < share;
}

/**
 * Return the share at a time, in basis points: linear, floored, clamped.
 * @param {Rollout} rollout  @param {number} now
 */
export function shareAt({ share, ramp }, now) {
  if (!ramp || now >= ramp.end) return share;
  if (now <= ramp.start) return ramp.first;
  const [elapsed, whole] = [Math.floor((now - ramp.start) / 1000), (ramp.end - ramp.start) / 1000];
  return ramp.first + Math.floor(((share - ramp.first) * elapsed) / whole);
}

/**
 * Return where a device stands in a rollout, 0 to 9999.
 * @param {string} salt  @param {string} id
 */
export function position(salt, id) {
  const x = parseInt(sha256(utf8(`${salt}\0${id}`)).slice(0, 8), 16);
  return Math.floor((x * FULL) / 2 ** 32); // 46 bits: a shift would cut them off
}
