/**
 * Whom to believe, and what to do: the rules of `docs/format.md`, in its order and with its error
 * codes. The Python client is the reference and the same vectors hold both.
 *
 * Nothing here fetches or remembers. Times are milliseconds since 1970.
 */
import type { Bytes, Decision, Device, Envelope, Json, Key, Keyring, Memory, Release, Rollout, Seen, Trusted, Verify, Wrapped } from './types.js';
/**
 * @import {
 *   Audience, Bytes, Decision, Device, Envelope, Json, Key, Keyring, Manifest, Memory, Offer,
 *   Payload, Release, Role, Rollout, Root, Seen, Trusted, Verify, Wrapped
 * } from './types.js'
 */
/** Why something was not done; `code` is stable, the message is for people. */
export declare class UpdateError extends Error {
    code: string;
    cause: unknown;
    name: string;
    /**
     * @param {string} code  `store`: not there or not reachable; `storage`: cannot remember; `key`:
     *   no key opens it; `no_crypto`: no way to verify; `usage`: called wrongly
     * @param {string} message
     * @param {unknown} [cause]
     */
    constructor(code: string, message: string, cause?: unknown);
}
/** Not to be trusted, and nothing was changed because of it; codes as in `docs/format.md`. */
export declare class VerificationError extends UpdateError {
    name: string;
}
/** Every limit of the protocol that a client meets; bytes unless said. */
export declare const LIMITS: Readonly<{
    manifest: number;
    root: number;
    release: number;
    bundle: number;
    files: 20000;
    folders: 20000;
    path: 512;
    depth: 16;
    rootSteps: 64;
    future: number;
}>;
/**
 * SHA-256 in hex. Its own code, because WebCrypto has none on plain http and is asynchronous, and
 * `decide` is not; use `digest` for large data.
 * @param {Uint8Array} data
 */
export declare function sha256(data: Uint8Array): string;
/**
 * SHA-256 in hex, by WebCrypto where there is one.
 * @param {Bytes} data
 * @returns {Promise<string>}
 */
export declare function digest(data: Bytes): Promise<string>;
/** Write bytes in hex. @param {Uint8Array} data */
export declare function hex(data: Uint8Array): string;
/** Read base64. @param {string} text */
export declare function fromBase64(text: string): Uint8Array<ArrayBuffer>;
/** Write UTF-8. @param {string} text */
export declare function utf8(text: string): Uint8Array<ArrayBuffer>;
/** Read UTF-8, or throw: it is the one form of its text. @param {Uint8Array} data */
export declare function fromUtf8(data: Uint8Array): string;
/**
 * Write the canonical text of a value, or throw `format` if it has none.
 * @param {unknown} value
 * @returns {string}
 */
export declare function encode(value: unknown, depth?: number): string;
/**
 * Read canonical JSON of at most `limit` bytes; anything that is not byte for byte its own canonical
 * form is refused (`format`, `too_large`). That covers duplicate keys, 1.0, -0 and what JSON.parse
 * rounds, because none of these is written as it was read.
 * @param {Uint8Array} data  @param {number} limit
 */
export declare function decode(data: Uint8Array, limit: number): any;
/** The members of one JSON object at path `at`. */
export declare class Reader {
    value: Json;
    at: string;
    /** @param {unknown} value  @param {string} at */
    constructor(value: unknown, at: string);
    /** @param {string} name  @returns {never} */
    fail(name: string, want?: string): never;
    /** @param {string} name */
    has(name: string): boolean;
    /** @param {string} name */
    get(name: string): any;
    /** @param {string} name  @param {RegExp | ((text: string) => unknown)} rule  @returns {string} */
    text(name: string, rule: RegExp | ((text: string) => unknown), want?: string): string;
    /** @param {string} name  @param {number} low  @param {number} high  @returns {number} */
    integer(name: string, low: number, high?: number): number;
    /** @param {string} name */
    flag(name: string): boolean;
    /** @param {string} name */
    digest(name: string): string;
    /** @param {string} name */
    time(name: string): number;
    /** @param {string} name  @param {number} [size] */
    bytes(name: string, size?: number): Uint8Array<ArrayBuffer>;
    /**
     * @template T
     * @param {string} name  @param {number} most  @param {(value: unknown, at: string) => T} item
     */
    list<T>(name: string, most: number, item: (value: unknown, at: string) => T): T[];
    /** @param {string} name  @param {number} most  @param {RegExp | ((text: string) => unknown)} rule */
    texts(name: string, most: number, rule: RegExp | ((text: string) => unknown)): string[];
    /** @param {string} name */
    object(name: string): Reader;
}
/** Tell whether a channel may be called this. @param {string} name */
export declare function isChannel(name: string): boolean;
/** Tell whether text is a semantic version without build metadata. @param {string} text */
export declare function isVersion(text: string): boolean;
/**
 * Read what app stores call a version (`3`, `3.1`, `3.1.0.4`), or return `null`.
 * @param {string} text
 */
export declare function nativeVersion(text: string): string | null;
/**
 * Order two versions as semver does: below, at or above 0.
 * @param {string} a  @param {string} b
 */
export declare function compareVersions(a: string, b: string): number;
/** Tell whether text is a range such as `>=3 <4`. @param {string} text */
export declare function isRange(text: string): boolean;
/** Tell whether every comparator of a range holds. @param {string} range  @param {string} version */
export declare function admits(range: string, version: string): boolean;
/**
 * Recognise a key by its DER, or throw `format`.
 * @param {Bytes} spki
 * @returns {Key}
 */
export declare function readKey(spki: Bytes): Key;
/**
 * Tell whether a signature is this key's over `message`, or throw `no_crypto`.
 * @param {Key} key  @param {Bytes} signature
 * @param {Bytes} message  @param {Verify} [verify]
 */
export declare function verifies(key: Key, signature: Bytes, message: Bytes, verify?: Verify): Promise<boolean>;
/** @param {unknown} value  @param {string} at  @returns {Envelope} */
export declare function readEnvelope(value: unknown, at: string): Envelope;
/**
 * Read a stored document, or throw `format` or `too_large`; whom to believe is not checked.
 * @param {Uint8Array} data  @param {number} limit
 */
export declare function readDocument(data: Uint8Array, limit: number): Envelope;
/** @param {Json} signed  @returns {Release} */
export declare function readRelease(signed: Json): Release;
/** Read what opens a bundle under `capgo`. @param {Reader} read  @returns {Wrapped} */
export declare function readWrapped(read: Reader): Wrapped;
/**
 * Read a rollout; a ramp has all three of `first`, `start` and `end`.
 * @param {unknown} value  @returns {Rollout}
 */
export declare function readRollout(value: unknown, at?: string): Rollout;
/**
 * Verify a root: the next one after `previous`, or without it the one an app was built with, which
 * must be signed by its own threshold.
 * @param {Uint8Array} data  @param {{ previous?: Keyring, verify?: Verify }} [options]
 * @returns {Promise<Keyring>}
 */
export declare function verifyRoot(data: Uint8Array, { previous, verify }?: {
    previous?: Keyring;
    verify?: Verify;
}): Promise<Keyring>;
/**
 * Throw `root_expired` unless the root is alive; for the newest root only.
 * @param {Keyring} keyring  @param {number} now
 */
export declare function checkRootFresh({ root }: Keyring, now: number): void;
/**
 * Return the root number that an unverified manifest names, to walk the chain before it.
 * @param {Uint8Array} data
 */
export declare function namedRoot(data: Uint8Array): number;
/**
 * Verify a manifest of a channel and the releases in it; freshness is `checkFresh`'s.
 * @param {Keyring} keyring  @param {Uint8Array} data  @param {string} channel
 * @returns {Promise<Trusted>}
 */
export declare function verifyManifest(keyring: Keyring, data: Uint8Array, channel: string): Promise<Trusted>;
/**
 * Read a manifest accepted earlier; `null` unless this root still stands behind it. Nothing but its
 * threshold is asked again.
 * @param {Keyring} keyring  @param {Uint8Array} data  @param {string} channel
 */
export declare function remembered(keyring: Keyring, data: Uint8Array, channel: string): Promise<{
    sequence: number;
    digest: string;
    issued: number;
    expires: number;
} | null>;
/**
 * Verify a release, stored or embedded.
 * @param {Keyring} keyring  @param {Envelope} envelope
 */
export declare function verifyRelease(keyring: Keyring, envelope: Envelope): Promise<Release>;
/** @param {Keyring} keyring  @param {Envelope} envelope */
export declare function candidate(keyring: Keyring, envelope: Envelope): Promise<Release | VerificationError>;
/**
 * Throw unless a manifest may replace the one seen last.
 * @param {Trusted} trusted
 * @param {{ seen: Seen | null, now: number, rootIssued: number, runningIssued?: number }} known
 *   `rootIssued`: the newest root's time; a clock behind it is plainly wrong and says nothing about
 *   the future. `runningIssued`: the running release's; where no manifest is remembered it says how
 *   late it must be, for expiry alone
 */
export declare function checkFresh({ manifest, seen: fresh }: Trusted, { seen, now, rootIssued, runningIssued }: {
    seen: Seen | null;
    now: number;
    rootIssued: number;
    runningIssued?: number;
}): void;
/**
 * Return the time to go by: the device's, but never before the newest accepted `issued`.
 * @param {number} now  @param {Seen | null} seen
 */
export declare function clock(now: number, seen: Seen | null): number;
/**
 * Decide what a device does; `now` is `clock`'s time.
 * @param {Trusted} trusted  @param {Device} device  @param {Memory} memory  @param {number} now
 * @returns {Decision}
 */
export declare function decide({ manifest, releases }: Trusted, device: Device, memory: Memory, now: number): Decision;
/**
 * Return the share at a time, in basis points: linear, floored, clamped.
 * @param {Rollout} rollout  @param {number} now
 */
export declare function shareAt({ share, ramp }: Rollout, now: number): number;
/**
 * Return where a device stands in a rollout, 0 to 9999.
 * @param {string} salt  @param {string} id
 */
export declare function position(salt: string, id: string): number;
