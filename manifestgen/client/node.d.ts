/**
 * Node and Electron: each release a folder of its own, a link to the one that runs.
 *
 *     lock             held while a run changes anything
 *     bundles/TREE/    an unpacked release, complete and never changed
 *     current          a link to the bundle that runs; none means the app as installed
 *     staging/         what is being unpacked; may be removed at any time
 *     memory/KEY       what `fileStorage` keeps
 *
 * `current` is replaced by a rename, so whoever follows it sees one whole bundle or the other. Where
 * links cannot be made (Windows without the privilege) it is a file that holds the path instead.
 * A release that is not confirmed before the next start is left by `start` of the updater.
 */
export type Bytes = import('./bundle.js').Bytes;
export type Tools = import('./bundle.js').Tools;
export type TreeFile = import('./bundle.js').TreeFile;
export type Adapter = import('./types.js').Adapter;
export type Slot = import('./types.js').Slot;
export type Storage = import('./types.js').Storage;
/**
 * Hold releases in `folder`, which is one app's alone.
 *
 * @param {object} options
 * @param {string} options.folder
 * @param {readonly string[]} [options.keys] public Capgo keys in PEM
 * @returns {Adapter & { path: () => Promise<string | null> }} `path` is the folder that runs
 */
export declare function nodeAdapter({ folder, keys }: {
    folder: string;
    keys?: readonly string[];
}): Adapter & {
    path: () => Promise<string | null>;
};
/**
 * Remember in files under `folder`, each replaced whole.
 *
 * @param {string} folder
 * @returns {Storage}
 */
export declare function fileStorage(folder: string): Storage;
/**
 * Inflate raw deflate with zlib; throw unless it ends with the last packed byte.
 *
 * @param {Bytes} packed
 * @param {number} size
 * @returns {Promise<Bytes>}
 */
export declare function inflate(packed: Bytes, size: number): Promise<Bytes>;
