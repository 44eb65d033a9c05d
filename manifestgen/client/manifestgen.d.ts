/**
 * The JavaScript client: verify what a site says, decide, and drive an update.
 *
 * The lifecycle: `start()` at each start of the app, `confirm()` once it works; `check()`,
 * `download()`, `apply()` whenever it suits. The rules are in `core.js`, the steps in `updater.js`.
 */
export type Storage = import('./types.js').Storage;
export type Adapter = import('./types.js').Adapter;
export type Plan = import('./types.js').Plan;
export type Slot = import('./types.js').Slot;
export type Staged = import('./types.js').Staged;
export type Verify = import('./types.js').Verify;
export type Fetch = import('./types.js').Fetch;
export type Emit = import('./types.js').Emit;
export type Options = import('./types.js').Options;
export type Outcome = import('./types.js').Outcome;
export type Look = import('./types.js').Look;
export type Status = import('./types.js').Status;
export type State = import('./types.js').State;
export type Json = import('./types.js').Json;
export type Bytes = import('./types.js').Bytes;
export type Key = import('./types.js').Key;
export type Keyring = import('./types.js').Keyring;
export type Envelope = import('./types.js').Envelope;
export type Role = import('./types.js').Role;
export type Root = import('./types.js').Root;
export type Payload = import('./types.js').Payload;
export type Patch = import('./types.js').Patch;
export type Audience = import('./types.js').Audience;
export type Wrapped = import('./types.js').Wrapped;
export type Release = import('./types.js').Release;
export type Rollout = import('./types.js').Rollout;
export type Offer = import('./types.js').Offer;
export type Manifest = import('./types.js').Manifest;
export type Seen = import('./types.js').Seen;
export type Trusted = import('./types.js').Trusted;
export type Device = import('./types.js').Device;
export type Memory = import('./types.js').Memory;
export type Verdict = import('./types.js').Verdict;
export type Install = import('./types.js').Install;
export type Decision = import('./types.js').Decision;
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
/** @typedef {import('./types.js').Look} Look */
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
export * from './core.js';
export { createUpdater } from './updater.js';
