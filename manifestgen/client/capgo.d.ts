/**
 * Drive the stock plugin, `@capgo/capacitor-updater` from 8.51.23, with what has been verified.
 *
 * The plugin downloads, decrypts, unpacks, switches and leaves a release that does not call
 * `notifyAppReady` in time; what to download, and whether to, is decided before it is told. The zip
 * is left to the plugin's own check: the release signs the session key and the checksum that are
 * always passed here, and from 8.51.23 on the plugin refuses a bundle without them.
 *
 * The plugin must not update by itself: `autoUpdate: false` and `autoDeleteFailed: false`; the other
 * settings are in `docs/capacitor.md`.
 */
export type Adapter = import('./types.js').Adapter;
export type Device = import('./types.js').Device;
export type Plan = import('./types.js').Plan;
export type Release = import('./types.js').Release;
export type Slot = import('./types.js').Slot;
export type Storage = import('./types.js').Storage;
export type BundleInfo = {
    id: string;
    version: string;
    status: string;
};
export type ManifestEntry = {
    file_name: string;
    file_hash: string;
    download_url: string;
};
export type Plugin = {
    download: (options: {
        url: string;
        version: string;
        sessionKey?: string;
        checksum: string;
        manifest?: ManifestEntry[];
    }) => Promise<BundleInfo>;
    next: (options: {
        id: string;
    }) => Promise<unknown>;
    set: (options: {
        id: string;
    }) => Promise<unknown>;
    delete: (options: {
        id: string;
    }) => Promise<unknown>;
    reset: () => Promise<unknown>;
    reload: () => Promise<unknown>;
    notifyAppReady: () => Promise<unknown>;
    current: () => Promise<{
        bundle: BundleInfo;
        native: string;
    }>;
    list: (options?: {
        raw?: boolean;
    }) => Promise<{
        bundles: BundleInfo[];
    }>;
    getFailedUpdate: () => Promise<{
        bundle: BundleInfo;
    } | null>;
    getBuiltinVersion: () => Promise<{
        version: string;
    }>;
    getDeviceId: () => Promise<{
        deviceId: string;
    }>;
    getPluginVersion: () => Promise<{
        version: string;
    }>;
    isAutoUpdateEnabled: () => Promise<{
        enabled: boolean;
    }>;
    addListener: (event: 'download', listener: (state: {
        percent: number;
        bundle: BundleInfo;
    }) => void) => Promise<{
        remove: () => Promise<unknown>;
    }>;
};
/** @typedef {import('./types.js').Adapter} Adapter */
/** @typedef {import('./types.js').Device} Device */
/** @typedef {import('./types.js').Plan} Plan */
/** @typedef {import('./types.js').Release} Release */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Storage} Storage */
/** The members of the plugin's `BundleInfo` that are used. @typedef {{ id: string, version: string, status: string }} BundleInfo */
/** One file, as the plugin wants it. @typedef {{ file_name: string, file_hash: string, download_url: string }} ManifestEntry */
/**
 * The methods of the plugin that are used, as its 8.51.23 has them.
 * @typedef {object} Plugin
 * @property {(options: { url: string, version: string, sessionKey?: string, checksum: string, manifest?: ManifestEntry[] }) => Promise<BundleInfo>} download
 * @property {(options: { id: string }) => Promise<unknown>} next
 * @property {(options: { id: string }) => Promise<unknown>} set
 * @property {(options: { id: string }) => Promise<unknown>} delete
 * @property {() => Promise<unknown>} reset
 * @property {() => Promise<unknown>} reload
 * @property {() => Promise<unknown>} notifyAppReady
 * @property {() => Promise<{ bundle: BundleInfo, native: string }>} current
 * @property {(options?: { raw?: boolean }) => Promise<{ bundles: BundleInfo[] }>} list
 * @property {() => Promise<{ bundle: BundleInfo } | null>} getFailedUpdate
 * @property {() => Promise<{ version: string }>} getBuiltinVersion
 * @property {() => Promise<{ deviceId: string }>} getDeviceId
 * @property {() => Promise<{ version: string }>} getPluginVersion
 * @property {() => Promise<{ enabled: boolean }>} isAutoUpdateEnabled
 * @property {(event: 'download', listener: (state: { percent: number, bundle: BundleInfo }) => void) => Promise<{ remove: () => Promise<unknown> }>} addListener
 */
/** Before it, Android installed bundles without a session key, whoever had made them. */
export declare const LOWEST_PLUGIN = "8.51.23";
/**
 * Hold releases in the plugin. `when` says how a release is switched to: `next` when the app next
 * goes to the background or starts, `set` at once by reloading, `mandatory` (the default) at once
 * if the offer is mandatory.
 *
 * @param {object} options
 * @param {Plugin} options.plugin
 * @param {'next' | 'set' | 'mandatory'} [options.when]
 * @returns {Adapter}
 */
export declare function capgoAdapter({ plugin, when }: {
    plugin: Plugin;
    when?: 'next' | 'set' | 'mandatory';
}): Adapter;
/**
 * Return what the plugin knows of the device, after seeing that it can be driven safely.
 *
 * Throws `plugin` if it is older than `lowest`, or updates by itself.
 *
 * @param {object} options
 * @param {Plugin} options.plugin
 * @param {string} options.platform what `Capacitor.getPlatform()` says
 * @param {string} [options.lowest]
 * @returns {Promise<Device>}
 */
export declare function capgoDevice({ plugin, platform, lowest }: {
    plugin: Plugin;
    platform: string;
    lowest?: string;
}): Promise<Device>;
/**
 * Remember in Capacitor's Preferences: native storage, which clearing the web view's data leaves.
 *
 * @param {object} preferences
 * @param {(options: { key: string }) => Promise<{ value: string | null }>} preferences.get
 * @param {(options: { key: string, value: string }) => Promise<unknown>} preferences.set
 * @param {(options: { key: string }) => Promise<unknown>} preferences.remove
 * @returns {Storage}
 */
export declare function preferencesStorage(preferences: {
    get: (options: {
        key: string;
    }) => Promise<{
        value: string | null;
    }>;
    set: (options: {
        key: string;
        value: string;
    }) => Promise<unknown>;
    remove: (options: {
        key: string;
    }) => Promise<unknown>;
}): Storage;
