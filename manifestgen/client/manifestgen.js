/**
 * The JavaScript client: verify what a site says, decide, and drive an update.
 *
 * The lifecycle: `start()` at each start of the app, `confirm()` once it works; `check()`,
 * `download()`, `apply()` whenever it suits. The rules are in `core.js`, the steps in `updater.js`.
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
