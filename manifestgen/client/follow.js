/**
 * Follow a site while developing: look every second, take what is new, and show it at once.
 *
 * For development builds. Nothing is taken that the updater would not take in production, so a save
 * shows itself as a release does: signed, verified, decided on, switched to. A look that finds
 * nothing costs one answer of 304.
 */

/** @typedef {ReturnType<typeof import('./updater.js').createUpdater>} Updater */

const LONGEST = 5; // times `every`: what failed is tried again by then

/**
 * Look for updates until `signal` says stop; then the promise is kept. Start it after `confirm`.
 *
 * Whatever fails leaves what runs; `say` is told why, once and not at each look, and is told `null`
 * when it is over. A page that is hidden waits until it is seen.
 *
 * @param {Updater} updater
 * @param {object} [options]
 * @param {number} [options.every] milliseconds between looks
 * @param {AbortSignal} [options.signal]
 * @param {() => unknown} [options.reload] shows what runs now; by default as the adapter does
 * @param {(error: Error | null) => void} [options.say]
 */
export async function follow(updater, { every = 1000, signal, reload, say = warn } = {}) {
  const ended = () => Boolean(signal && signal.aborted);
  let [failures, said, settled] = [0, '', false];
  while (!ended()) {
    try {
      const seen = settled ? await updater.look() : 'changed';
      if (seen === 'stale') await (reload || updater.reload)();
      if (seen === 'changed') {
        settled = false;
        await take(updater, ended, reload);
        settled = true;
      }
      if (said) say(null);
      [failures, said] = [0, ''];
    } catch (error) {
      const { code, message } = /** @type {Error & { code?: string }} */ (error);
      if (said !== (code || message)) say(/** @type {Error} */ (error));
      [failures, said, settled] = [failures + 1, code || message, false];
    }
    if (!ended()) await pause(every * Math.min(2 ** failures, LONGEST), signal);
  }
}

/**
 * Take what the site offers, and show it.
 *
 * @param {Updater} updater
 * @param {() => boolean} ended
 * @param {() => unknown} [reload]
 */
async function take(updater, ended, reload) {
  const found = await updater.check();
  if (found.action === 'install' && !ended()) await updater.download();
  if (found.action === 'none' || ended()) return;
  const { action } = await updater.apply();
  if (action === 'none') return;
  if (reload) await reload();
  else if (action === 'pending') await updater.reload(); // who has switched has shown it, too
}

/**
 * Wait; a page that is hidden waits until it is seen, and one that comes into sight waits no more.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function pause(milliseconds, signal) {
  const page = globalThis.document;
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      if (page) page.removeEventListener('visibilitychange', seen);
      if (signal) signal.removeEventListener('abort', end);
      done();
    };
    const seen = () => {
      if (!page || !page.hidden) end();
    };
    const timer = setTimeout(seen, milliseconds);
    if (page) page.addEventListener('visibilitychange', seen);
    if (signal) signal.addEventListener('abort', end);
  });
}

/** @param {Error | null} error */
function warn(error) {
  console.warn(error ? `no update: ${error.message}` : 'updates are followed again');
}
