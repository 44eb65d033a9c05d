/**
 * Follow a site while developing: look every second, take what is new, and show it at once.
 *
 * For development builds. Nothing is taken that the updater would not take in production, so a save
 * shows itself as a release does: signed, verified, decided on, switched to. A look that finds
 * nothing costs one answer of 304.
 */
export type Updater = ReturnType<typeof import('./updater.js').createUpdater>;
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
export declare function follow(updater: Updater, { every, signal, reload, say }?: {
    every?: number;
    signal?: AbortSignal;
    reload?: () => unknown;
    say?: (error: Error | null) => void;
}): Promise<void>;
