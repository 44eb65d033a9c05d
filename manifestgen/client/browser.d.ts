/**
 * Browsers and installed web apps: each release a cache of its own, which `worker.js` serves.
 *
 * The page fetches, verifies and unpacks; the service worker serves what lies in the caches, switches
 * when a page is next loaded, and leaves a release that is not confirmed. Without a worker, in its
 * first load, or when told to go back, the app is what the server has.
 *
 * Caches and databases belong to the origin: every script of it may change them, also one that came
 * with a release. `docs/web.md` says what that means.
 */
export type Adapter = import('./types.js').Adapter;
export type Slot = import('./types.js').Slot;
export type Storage = import('./types.js').Storage;
export type Bytes = import('./bundle.js').Bytes;
export type Primitives = import('./bundle.js').Primitives;
/** @typedef {import('./types.js').Adapter} Adapter */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Storage} Storage */
/** @typedef {import('./bundle.js').Bytes} Bytes */
/** @typedef {import('./bundle.js').Primitives} Primitives */
/**
 * Hold releases in Cache Storage, for the pages below `scope`.
 *
 * @param {object} [options]
 * @param {string | URL} [options.worker] where `worker.js` is; its folder is the widest scope
 * @param {string | URL} [options.scope] by default the worker's folder
 * @param {readonly string[]} [options.keys] public Capgo keys in PEM
 * @param {Primitives} [options.primitives]
 * @param {Record<string, string>} [options.headers] sent with each file, as the server would
 * @returns {Adapter}
 */
export declare function browserAdapter({ worker, scope, keys, primitives, headers }?: {
    worker?: string | URL;
    scope?: string | URL;
    keys?: readonly string[];
    primitives?: Primitives;
    headers?: Record<string, string>;
}): Adapter;
/**
 * Remember in an IndexedDB of the origin; apps that share one need names of their own.
 *
 * @param {string} [name]
 * @returns {Storage}
 */
export declare function browserStorage(name?: string): Storage;
