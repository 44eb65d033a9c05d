/**
 * Drive an update: ask the site, download, switch, go back; `core.js` has the rules.
 *
 * How bundles are unpacked and switched belongs to an `Adapter`, where things are remembered to a
 * `Storage`. State is saved after each root, after the manifest's checks, after staging, after the
 * switch and on confirmation, so whatever is cut short goes on.
 */
import type { Look, Options, Outcome, Slot, Status } from './types.js';
export type Address = (name: string) => string;
/**
 * Make the updater of one app. Its methods run one after the other; each rejects with an
 * `UpdateError`, and then what runs keeps running.
 * @param {Options} options
 */
export declare function createUpdater(options: Options): {
    /** Ask the site, and say what there is to do; roots and the manifest are remembered. */
    check: () => Promise<Outcome>;
    /**
     * Make ready what the last check found; it asks the site itself if there was none, or if what that
     * found counts no more.
     */
    download: () => Promise<Outcome>;
    /** Switch to what was downloaded, or back to the built-in app if the last check said so. */
    apply: () => Promise<Outcome>;
    /**
     * Say that the app starts. A release that is not confirmed by its second start has failed: it is
     * left, returned, and not tried again. Adapters with `failed` see to that themselves.
     */
    start: () => Promise<Slot | null>;
    /** Say that what runs works: it is kept, and its floor counts. */
    confirm: () => Promise<void>;
    /** Say what is known, without asking anybody or changing anything. */
    status: () => Promise<Status>;
    /**
     * Say whether there may be anything new, for no more than one small answer. Nothing is verified,
     * and nothing changed: to act on it, `check`.
     */
    look: () => Promise<Look>;
    /** Show what was switched to, where the platform can: then nothing of this page is left. */
    reload: () => Promise<void>;
    /**
     * Listen to `progress`, `root`, `accepted`, `confirmed`, `rolled_back` or `error`; returns how to
     * stop. Report `error` with code `equivocation` to people.
     * @param {string} type @param {(detail: any) => void} listener
     */
    on(type: string, listener: (detail: any) => void): () => boolean;
};
