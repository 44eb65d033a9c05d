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

/** @typedef {import('./types.js').Storage} Storage */
/** @typedef {import('./types.js').Adapter} Adapter */
/** @typedef {import('./types.js').Plan} Plan */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Staged} Staged */
/** @typedef {import('./types.js').Verify} Verify */
/** @typedef {import('./types.js').Fetch} Fetch */
/** @typedef {import('./types.js').Emit} Emit */
/** @typedef {import('./types.js').Options} Options */
/** @typedef {import('./types.js').Outcome} Outcome */
/** @typedef {import('./types.js').Status} Status */
/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Json} Json */
/** @typedef {import('./types.js').Bytes} Bytes */
/** @typedef {import('./types.js').Key} Key */
/** @typedef {import('./types.js').Keyring} Keyring */
/** @typedef {import('./types.js').Envelope} Envelope */
/** @typedef {import('./types.js').Role} Role */
/** @typedef {import('./types.js').Root} Root */
/** @typedef {import('./types.js').Payload} Payload */
/** @typedef {import('./types.js').Patch} Patch */
/** @typedef {import('./types.js').Audience} Audience */
/** @typedef {import('./types.js').Wrapped} Wrapped */
/** @typedef {import('./types.js').Release} Release */
/** @typedef {import('./types.js').Rollout} Rollout */
/** @typedef {import('./types.js').Offer} Offer */
/** @typedef {import('./types.js').Manifest} Manifest */
/** @typedef {import('./types.js').Seen} Seen */
/** @typedef {import('./types.js').Trusted} Trusted */
/** @typedef {import('./types.js').Device} Device */
/** @typedef {import('./types.js').Memory} Memory */
/** @typedef {import('./types.js').Verdict} Verdict */
/** @typedef {import('./types.js').Install} Install */
/** @typedef {import('./types.js').Decision} Decision */

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
function readEnvelope(value, at) {
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
function readRelease(signed) {
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
  };
  // An empty list would read as "anywhere" to some and "nowhere" to others.
  if (read.has('channels') && !release.channels.length) read.fail('channels', 'one at least');
  if (scheme === 'none' && release.bundle.blob !== release.bundle.plain)
    read.fail('bundle', 'no plain');
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
async function candidate(keyring, envelope) {
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
 * @param {{ seen: Seen | null, now: number, rootIssued: number }} known  `rootIssued`: the newest
 *   root's time; a clock behind it is plainly wrong and says nothing about the future
 */
export function checkFresh({ manifest, seen: fresh }, { seen, now, rootIssued }) {
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
  if (clock(now, seen) >= expires) refuse(`the manifest expired on ${day(expires)}`, 'expired');
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

/* The network: one bounded GET. */

/**
 * Fetch at most `most` bytes; `null` if there is nothing, `store` if it cannot be had.
 * @param {string} url
 * @param {{ fetch: Fetch, most: number, patience: number, cache?: RequestCache }} how
 * @param {(loaded: number) => void} [progress]
 * @returns {Promise<Bytes | null>}
 */
async function get(url, { fetch, most, patience, cache = 'no-cache' }, progress = () => {}) {
  const abort = new AbortController();
  let [loaded, before] = [0, 0];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let watch;
  const slow = new Promise((_, reject) => {
    watch = setInterval(() => {
      if (loaded - before < patience * 1.024) reject(new Error('slower than 1 KiB/s')); // both in 1/1000
      before = loaded;
    }, patience);
  });
  const body = async () => {
    const response = await fetch(url, { cache, signal: abort.signal });
    if (response.url && !samePlace(url, response.url)) throw new Error(`leads to ${response.url}`);
    if ([403, 404, 410].includes(response.status)) return null; // 403 is how buckets say 404
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    return read(response, most, (size) => progress((loaded = size)));
  };
  try {
    return /** @type {Bytes | null} */ (await Promise.race([body(), slow]));
  } catch (error) {
    throw new UpdateError('store', `${url}: ${/** @type {Error} */ (error).message}`, error);
  } finally {
    clearInterval(watch);
    abort.abort();
  }
}

/** @param {string} from  @param {string} to */
function samePlace(from, to) {
  const [a, b] = [new URL(from), new URL(to)];
  return (
    a.origin === b.origin ||
    (a.hostname === b.hostname && a.protocol + b.protocol === 'http:https:')
  );
}

/**
 * @param {Response} response  @param {number} most  @param {(loaded: number) => void} progress
 */
async function read(response, most, progress) {
  if (!response.body) return new Uint8Array(await response.arrayBuffer()).slice(0, most);
  const [reader, chunks] = [response.body.getReader(), /** @type {Uint8Array[]} */ ([])];
  let size = 0;
  while (size < most) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value.subarray(0, most - size));
    progress((size += chunks[chunks.length - 1].length));
  }
  const data = new Uint8Array(size);
  for (const chunk of chunks.reverse()) data.set(chunk, (size -= chunk.length));
  return data;
}

/* What is remembered. */

/** @type {State} */
const FRESH = {
  type: 'client.v1',
  channel: null,
  current: null,
  running: null,
  confirmed: true,
  tried: false,
  previous: null,
  staged: null,
  pending: false,
  failed: [],
  floor: null,
  checked: null,
  looked: null,
  channels: [],
};

/** Read a state; damage leaves a fresh one. @param {string | null} text  @returns {State} */
function readState(text) {
  try {
    const read = new Reader(decode(utf8(text || ''), 2 ** 20), '$');
    /** @param {unknown} value */
    const slot = (value, at = '$') => {
      if (value === null) return;
      const one = new Reader(value, at);
      one.text('version', isVersion);
      one.digest('tree');
      one.text('ref', /^/);
    };
    read.text('type', /^client\.v1$/);
    for (const name of ['running', 'previous', 'staged']) slot(read.get(name));
    for (const name of ['confirmed', 'tried', 'pending']) read.flag(name);
    for (const name of ['checked', 'looked']) {
      if (read.get(name) !== null) read.integer(name, -Number.MAX_SAFE_INTEGER);
    }
    if (read.get('channel') !== null) read.text('channel', isChannel);
    if (read.get('current') !== null) read.text('current', /^/);
    if (read.get('floor') !== null) readEnvelope(read.get('floor'), '$.floor');
    read.list('failed', MOST_FAILED, slot);
    read.texts('channels', MOST_FAILED, isChannel);
    return { ...FRESH, .../** @type {State} */ (read.value) };
  } catch (error) {
    return FRESH;
  }
}

const MOST_FAILED = 64; // the oldest is forgotten, or the state would grow for ever

/** @param {State} state  @returns {State} */
function switched(state) {
  const { staged, running } = state;
  const after = {
    ...state,
    current: staged && staged.ref,
    running: staged,
    staged: null,
    pending: false,
  };
  // The same files under another version have nothing new to prove.
  if (staged && running && staged.tree === running.tree) return after;
  // What was never confirmed is nothing to come back to.
  const previous = state.confirmed ? running : state.previous;
  return { ...after, confirmed: false, tried: false, previous };
}

/** @param {State} state  @param {Slot | null} slot */
function failing(state, slot) {
  const others = state.failed.filter((one) => slot && one.tree !== slot.tree);
  return slot ? [...others, slot].slice(-MOST_FAILED) : state.failed;
}

/** @param {State} state  @returns {State} */
function rolledBack(state) {
  const { previous, running } = state;
  const current = previous && previous.ref;
  const failed = failing(state, running);
  return { ...without(state), current, running: previous, failed };
}

/** @param {State} state  @returns {State} */
function without(state) {
  const none = { current: null, running: null, previous: null, staged: null };
  return { ...state, ...none, confirmed: true, tried: false, pending: false };
}

const DAY = 24 * 3600 * 1000;
const NAMESPACE = 'manifestgen.';
const PATIENCE = 30_000;

/** One operation: trust and state move forward together, saved as they change. */
class Run {
  /**
   * @param {Options & { base: string, fetch: Fetch, emit: Emit }} options
   * @param {number} now  @param {Keyring} keys
   */
  constructor(options, now, keys) {
    this.options = options;
    this.now = now;
    this.keys = keys;
    this.state = FRESH;
    this.channel = '';
    this.steps = LIMITS.rootSteps;
  }

  /**
   * Read what is remembered, and make it agree with what the platform says runs. The root is pinned
   * when something is first written.
   * @param {boolean} writing
   */
  async load(writing) {
    const { root, verify, adapter, channel } = this.options;
    const pinned = await this.recall('root', (text) => verifyRoot(utf8(text), { verify }));
    if (pinned && pinned.root.app !== this.keys.root.app) {
      throw new UpdateError('wrong_app', `the storage belongs to ${pinned.root.app}`);
    }
    if (pinned) this.keys = pinned;
    else if (writing) await this.store('root', typeof root === 'string' ? root : fromUtf8(root));
    const before = (this.state = readState(await this.recall('state', async (text) => text)));
    await this.reconcile(await adapter.current(), adapter.failed ? await adapter.failed() : []);
    if (writing && this.state !== before) await this.save({});
    this.channel = channel || this.state.channel || 'production';
    return this;
  }

  /** @param {string | null} current  @param {string[]} gone  what the platform left again */
  async reconcile(current, gone) {
    const { running, staged, previous, confirmed } = this.state;
    if (staged && staged.ref !== current && gone.includes(staged.ref)) {
      const failed = failing(this.state, staged);
      this.state = { ...this.state, failed, staged: null, pending: false };
    }
    if (current === this.state.current) return;
    const floor = await this.floored();
    const trial = confirmed ? null : running;
    const known = trial && current === (previous && previous.ref);
    if (this.state.staged && current === this.state.staged.ref) {
      this.state = { ...switched(this.state), floor }; // cut between the switch and its record
    } else if (trial && (known || gone.includes(trial.ref))) {
      const back = known ? previous : await this.described(current);
      this.state = { ...rolledBack({ ...this.state, previous: back }), current };
      this.options.emit('rolled_back', trial);
    } else {
      // Unknown, and nothing says that it failed.
      const described = await this.described(current);
      this.state = { ...without(this.state), current, running: described, floor };
    }
  }

  /** @param {string | null} ref  @returns {Promise<Slot | null>} */
  async described(ref) {
    const found = await this.release(ref);
    try {
      const { version, tree } = readRelease(/** @type {Envelope} */ (found).signed);
      return { version, tree: tree.digest, ref: /** @type {string} */ (ref) };
    } catch (error) {
      return null;
    }
  }

  /* Storage. What is damaged is as good as missing; what cannot be read at all is an error. */

  /** @template T  @param {string} key  @param {(text: string) => Promise<T>} parse */
  async recall(key, parse) {
    const text = await this.kept('get', key);
    try {
      return typeof text === 'string' ? await parse(text) : null;
    } catch (error) {
      if (error instanceof VerificationError) return null;
      throw error;
    }
  }

  /** @param {string} key  @param {string} value */
  store(key, value) {
    return this.kept('set', key, value);
  }

  /** @param {'get' | 'set' | 'remove'} method  @param {string} key */
  async kept(method, key, value = '') {
    try {
      return await this.options.storage[method](NAMESPACE + key, value);
    } catch (error) {
      throw new UpdateError('storage', `cannot ${method} ${key}`, error);
    }
  }

  /** Change the state, in storage first. @param {Partial<State>} changes */
  async save(changes) {
    const state = { ...this.state, ...changes };
    await this.store('state', encode(state));
    this.state = state;
  }

  /** @param {string | null} ref */
  async release(ref) {
    return ref === null
      ? null
      : this.recall(`release.${ref}`, async (text) => readDocument(utf8(text), LIMITS.release));
  }

  /* Trust. */

  /** @param {string} name  @param {number} limit */
  async document(name, limit) {
    const { base, fetch, patience = PATIENCE } = this.options;
    return get(base + name, { fetch, most: limit + 1, patience });
  }

  /** Fetch the manifest and remember it, or throw and remember nothing of it. */
  async accept() {
    const { channel } = this;
    const looked = await this.look();
    const data = await this.document(`${channel}/manifest.json`, LIMITS.manifest);
    if (!data) throw new UpdateError('store', `the site has no manifest of the channel ${channel}`);
    if (namedRoot(data) > this.keys.root.number) await this.walk();
    checkRootFresh(this.keys, this.now);
    const trusted = await verifyManifest(this.keys, data, channel);
    const seen = await this.seen(channel);
    // Without a remembered manifest, what runs tells how late it must be.
    const running = seen ? null : await this.running();
    const now = Math.max(this.now, running ? running.issued : this.now);
    checkFresh(trusted, { seen, now, rootIssued: this.keys.root.issued });
    // Before any download: a blob withheld must not make room for an older manifest.
    await this.store(`manifest.${channel}`, fromUtf8(data));
    const channels = [...this.state.channels.filter((one) => one !== channel), channel].slice(
      -MOST_FAILED,
    );
    await this.save({ checked: this.now, looked, channels });
    this.options.emit('accepted', trusted.seen);
    return trusted;
  }

  /** Look at `root.json` if that is due; return when it was last looked at. */
  async look() {
    const { looked } = this.state;
    if (looked !== null && this.now >= looked && this.now - looked < DAY) return looked;
    const found = await this.root('root.json');
    if (found && found.envelope.signed.number > this.keys.root.number) await this.walk();
    return this.now;
  }

  /** Follow the chain as far as it goes, and as far as one check may. */
  async walk() {
    for (; this.steps > 0; this.steps--) {
      const found = await this.root(`root/${this.keys.root.number + 1}.json`);
      if (!found) return;
      const keys = await verifyRoot(found.data, { previous: this.keys });
      await this.store('root', fromUtf8(found.data));
      this.keys = keys;
      await this.forget();
      this.options.emit('root', keys.root.number);
    }
  }

  /** Fetch a root; absent, too large and no envelope are all no news. @param {string} name */
  async root(name) {
    const data = await this.document(name, LIMITS.root);
    try {
      return data && { data, envelope: readDocument(data, LIMITS.root) };
    } catch (error) {
      return null;
    }
  }

  /** Forget what a new root does not stand behind. */
  async forget() {
    for (const channel of new Set([...this.state.channels, this.channel])) {
      if (!(await this.seen(channel))) await this.kept('remove', `manifest.${channel}`);
    }
    if (this.state.floor && !(await this.believed(this.state.floor)))
      await this.save({ floor: null });
  }

  /** Return what is remembered of a channel, as far as this root stands behind it. @param {string} channel */
  async seen(channel) {
    const data = await this.recall(`manifest.${channel}`, async (text) => utf8(text));
    return data && remembered(this.keys, data, channel);
  }

  /** Return a release that the root of today stands behind. @param {Json | null} json */
  async believed(json) {
    const release = json && (await candidate(this.keys, readEnvelope(json, '$')));
    return release instanceof Error ? null : release;
  }

  async running() {
    const found = this.state.running && (await this.release(this.state.running.ref));
    return found ? this.believed(found.json) : null;
  }

  /**
   * Return the release whose floor counts; what runs is `confirmed`, or about to be.
   * @param {boolean} confirmed
   */
  async highest(confirmed) {
    const { running, floor } = this.state;
    const found = confirmed && running ? await this.release(running.ref) : null;
    /** @type {{ floor: string, json: Json } | null} */
    let best = null;
    for (const json of [found && found.json, floor]) {
      const release = await this.believed(json);
      if (!json || !release || !release.floor) continue;
      if (!best || compareVersions(release.floor, best.floor) > 0)
        best = { floor: release.floor, json };
    }
    return best;
  }

  /**
   * Return the holder of the floor, to be kept before what runs is left: it may have been confirmed
   * without `confirm`, by the files it shares with the release before it, or because a damaged state
   * knew no better.
   */
  async floored(confirmed = this.state.confirmed) {
    const best = await this.highest(confirmed);
    return best && best.json;
  }

  /* Bundles. */

  /** @param {Trusted} trusted */
  async decide(trusted) {
    const { device = {}, adapter } = this.options;
    const { running, failed } = this.state;
    const highest = await this.highest(this.state.confirmed);
    const memory = {
      running,
      floor: highest && highest.floor,
      failed: failed.map((one) => one.tree),
      moved: this.state.channel !== null && this.state.channel !== this.channel,
    };
    const decision = decide(trusted, device, memory, clock(this.now, trusted.seen));
    if (decision.action !== 'nothing' || decision.reason !== 'current' || !running) return decision;
    if (await adapter.holds(running)) return decision;
    return repair(trusted, running, decision.verdicts) || decision;
  }

  /** Return a release that is here already. @param {string} tree */
  async held(tree) {
    for (const slot of [this.state.staged, this.state.running, this.state.previous]) {
      if (slot && slot.tree === tree && (await this.options.adapter.holds(slot))) return slot;
    }
    return null;
  }

  /** Fetch a release and remember it as staged. @param {Install} install */
  async stage({ release, envelope, patch, mandatory }) {
    const { adapter, base, emit } = this.options;
    const tree = release.tree.digest;
    const slot = await this.held(tree);
    /** @type {Plan} */
    const plan = {
      release,
      patch,
      running: this.state.running,
      mandatory,
      url: (blob) => `${base}blobs/${blob.slice(0, 2)}/${blob}.bin`,
      fetch: (payload) => this.blob(plan, payload),
      progress: (loaded, total) => emit('progress', { loaded, total }),
    };
    /** @type {Staged} */
    const staged = slot ? { ref: slot.ref, via: 'kept', bytes: 0 } : await adapter.stage(plan);
    // First: the files of what runs may be the same, and so the place of its envelope.
    await this.save({ floor: await this.floored() });
    await this.store(`release.${staged.ref}`, encode(envelope.json));
    await this.save({
      staged: { version: release.version, tree, ref: staged.ref, mandatory },
      pending: false,
    });
    return staged;
  }

  /** @param {Plan} plan  @param {Payload} payload */
  async blob({ url, progress }, { blob, size }) {
    const { fetch, patience = PATIENCE } = this.options;
    const how = { fetch, patience, most: size, cache: /** @type {const} */ ('default') };
    const data = await get(url(blob), how, (loaded) => progress(loaded, size));
    if (!data || data.length < size) {
      throw new UpdateError(
        'store',
        `${url(blob)}: ${data ? `ends after ${data.length} bytes` : 'not there'}`,
      );
    }
    if ((await digest(data)) !== blob)
      refuse(`blob ${blob} has other bytes than were signed`, 'digest');
    return data;
  }

  /** Run a slot; return whether it runs already. @param {Slot | null} slot */
  async switch(slot) {
    const { adapter } = this.options;
    await adapter.switch(slot);
    return (await adapter.current()) === (slot && slot.ref);
  }

  /** Give up what was staged; the platform may be about to switch to it. */
  async unstage() {
    const { pending, running, current } = this.state;
    if (pending && (running || current === null)) await this.options.adapter.switch(running);
    await this.drop({ staged: null, pending: false });
  }

  /** Save, and remove what nothing leads to any more. @param {Partial<State>} changes */
  async drop(changes) {
    const before = slots(this.state);
    await this.save(changes);
    const kept = slots(this.state);
    for (const { ref } of before) {
      if (!kept.some((one) => one.ref === ref)) await this.kept('remove', `release.${ref}`);
    }
    const { keep } = this.options.adapter;
    // What is left over is removed the next time.
    if (keep) await keep.call(this.options.adapter, kept).catch(() => {});
  }
}

/** @param {State} state */
function slots({ running, previous, staged }) {
  return /** @type {Slot[]} */ ([running, previous, staged].filter(Boolean));
}

/**
 * Return what mends the release that runs, if its files are not what they were.
 * @param {Trusted} trusted  @param {Slot} running  @param {Verdict[]} verdicts  @returns {Install | null}
 */
function repair({ manifest, releases }, running, verdicts) {
  const n = releases.findIndex(
    (one) => !(one instanceof Error) && one.tree.digest === running.tree,
  );
  if (n < 0) return null;
  const release = /** @type {Release} */ (releases[n]);
  return {
    action: 'install',
    release,
    envelope: manifest.offers[n].release,
    patch: null,
    mandatory: false,
    verdicts,
  };
}

/* The updater. */

/**
 * Make the updater of one app. Its methods run one after the other; each rejects with an
 * `UpdateError`, and then what runs keeps running.
 * @param {Options} options
 */
export function createUpdater(options) {
  const { site, root, channel, adapter, now = Date.now } = options;
  const { fetch = globalThis.fetch.bind(globalThis) } = options;
  if (channel !== undefined && !isChannel(channel)) {
    throw new UpdateError('usage', `${channel} is no channel name`);
  }
  const here = globalThis.location ? location.href : undefined;
  const base = new URL(site.replace(/\/*$/, '/'), here).href;
  /** @type {Map<string, Set<(detail: any) => void>>} */
  const listeners = new Map();
  /** @type {Decision | null} */
  let decided = null;
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();

  /** @type {Emit} */
  function emit(type, detail) {
    for (const listener of listeners.get(type) || []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(error); // not ours, and no reason to stop half way
      }
    }
  }

  /** @param {boolean} writing */
  async function load(writing) {
    const given = typeof root === 'string' ? utf8(root) : root;
    const keys = await verifyRoot(given, { verify: options.verify });
    return new Run({ ...options, base, fetch, emit }, now(), keys).load(writing);
  }

  /**
   * @template T
   * @param {(run: Run) => Promise<T>} work
   * @returns {Promise<T>}
   */
  function exclusive(work) {
    const run = async () => work(await load(true));
    const done = last.then(() => (adapter.lock ? adapter.lock(run) : run()));
    last = done.catch((error) => emit('error', error));
    return done;
  }

  /** @param {Run} run */
  async function check(run) {
    decided = null;
    const trusted = await run.accept();
    const decision = await run.decide(trusted);
    const wanted = decision.action === 'install' && decision.release.tree.digest;
    if (run.state.staged && run.state.staged.tree !== wanted) await run.unstage();
    if (decision.action === 'nothing' && run.state.channel !== run.channel) {
      await run.save({ channel: run.channel });
    }
    return (decided = decision);
  }

  /** @param {Run} run @returns {Promise<Outcome>} */
  async function apply(run) {
    const { staged } = run.state;
    if (decided && decided.action === 'reset') {
      decided = null;
      if (!(await run.switch(null))) return { ...NOTHING, action: 'pending' };
      const floor = await run.floored();
      await run.drop({ ...without(run.state), floor, channel: run.channel });
      return { ...NOTHING, action: 'reset' };
    }
    if (!staged) return NOTHING;
    const found = await run.release(staged.ref);
    const release = found && (await run.believed(found.json));
    if (!release || !(await adapter.holds(staged))) {
      await run.unstage();
      throw new UpdateError('store', `${staged.version} is no longer there to switch to`);
    }
    const outcome = { ...NOTHING, version: staged.version, notes: release.notes };
    await run.save({ pending: true }); // the switch may reload the page
    if (!(await run.switch(staged))) return { ...outcome, action: 'pending' };
    decided = null;
    await run.drop({ ...switched(run.state), channel: run.channel });
    return { ...outcome, action: 'installed' };
  }

  /** @param {Run} run @returns {Promise<Slot | null>} */
  async function start(run) {
    const { running, previous, confirmed, tried } = run.state;
    if (confirmed || adapter.failed) return null;
    if (!tried) {
      await run.save({ tried: true });
      return null;
    }
    decided = null;
    const back = previous && (await adapter.holds(previous)) ? previous : null;
    if (back !== previous) await run.save({ previous: null });
    if (await run.switch(back)) await run.drop(rolledBack(run.state));
    emit('rolled_back', running);
    return running;
  }

  return {
    /** Ask the site, and say what there is to do; roots and the manifest are remembered. */
    check: () => exclusive(async (run) => outcomeOf(await check(run))),

    /** Make ready what the last check found; it asks the site itself if there was none. */
    download: () =>
      exclusive(async (run) => {
        const decision = decided || (await check(run));
        if (decision.action !== 'install') return outcomeOf(decision);
        const { via, bytes } = await run.stage(decision);
        return { ...outcomeOf(decision), action: /** @type {const} */ ('staged'), via, bytes };
      }),

    /** Switch to what was downloaded, or back to the built-in app if the last check said so. */
    apply: () => exclusive(apply),

    /**
     * Say that the app starts. A release that is not confirmed by its second start has failed: it is
     * left, returned, and not tried again. Adapters with `failed` see to that themselves.
     */
    start: () => exclusive(start),

    /** Say that what runs works: it is kept, and its floor counts. */
    confirm: () =>
      exclusive(async (run) => {
        if (adapter.confirm) await adapter.confirm();
        if (run.state.confirmed) return;
        await run.drop({ confirmed: true, tried: false, floor: await run.floored(true) });
        emit('confirmed', run.state.running);
      }),

    /** Say what is known, without asking anybody or changing anything. */
    status: async () => statusOf(await load(false)),

    /**
     * Listen to `progress`, `root`, `accepted`, `confirmed`, `rolled_back` or `error`; returns how to
     * stop. Report `error` with code `equivocation` to people.
     * @param {string} type @param {(detail: any) => void} listener
     */
    on(type, listener) {
      const all = listeners.get(type) || new Set();
      listeners.set(type, all.add(listener));
      return () => all.delete(listener);
    },
  };
}

/** @type {Outcome} */
const NOTHING = {
  action: 'none',
  version: null,
  via: null,
  bytes: 0,
  mandatory: false,
  notes: '',
  reason: null,
  verdicts: [],
};

/** @param {Decision} decision @returns {Outcome} */
function outcomeOf(decision) {
  const { verdicts } = decision;
  if (decision.action === 'nothing') return { ...NOTHING, reason: decision.reason, verdicts };
  if (decision.action === 'reset') return { ...NOTHING, action: 'reset', verdicts };
  const { release, mandatory } = decision;
  const { version, notes, bundle } = release;
  return { ...NOTHING, action: 'install', version, notes, mandatory, bytes: bundle.size, verdicts };
}

/** @param {Run} run @returns {Promise<Status>} */
async function statusOf(run) {
  const { running, confirmed, previous, staged, failed, checked } = run.state;
  const { app, number, expires } = run.keys.root;
  const [seen, highest] = [await run.seen(run.channel), await run.highest(confirmed)];
  return {
    ...{ app, channel: run.channel, running, confirmed, previous, staged, failed, checked },
    floor: highest && highest.floor,
    sequence: seen && seen.sequence,
    expires: seen && seen.expires,
    root: number,
    rootExpires: expires,
  };
}
