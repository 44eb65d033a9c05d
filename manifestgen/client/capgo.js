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

import { LIMITS, Reader, UpdateError, compareVersions, decode, hex, nativeVersion } from './core.js';

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
export const LOWEST_PLUGIN = '8.51.23';

const BUILTIN = 'builtin';
const LIST_BYTES = 4 * 1024 * 1024;

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
export function capgoAdapter({ plugin, when = 'mandatory' }) {
  const current = async () => {
    const { id } = (await plugin.current()).bundle;
    return id === BUILTIN ? null : id;
  };
  return {
    current,
    async holds(slot) {
      const { bundles } = await plugin.list();
      return bundles.some(({ id, status }) => id === slot.ref && isWhole(status));
    },
    async stage(plan) {
      const { release, url, progress } = plan;
      const { bundle, version } = release;
      const stop = await watch(plugin, version, (part) =>
        progress(part * bundle.size, bundle.size),
      );
      try {
        const told = { url: url(bundle.blob), version, ...secrets(release) };
        const files = await listed(plan).catch(() => null); // without it there is the bundle
        if (files) {
          const id = await downloaded(plugin, { ...told, manifest: files.entries });
          if (id) return { ref: id, via: 'files', bytes: files.bytes };
        }
        const { id } = await asked(`download ${version}`, () => plugin.download(told));
        return { ref: id, via: 'bundle', bytes: bundle.size };
      } finally {
        await stop();
      }
    },
    async switch(slot) {
      const id = slot ? slot.ref : BUILTIN;
      const running = await current();
      // `next` with what runs calls off another `next`; `set` would load the same page again.
      const soon = when === 'set' || (when === 'mandatory' && slot && slot.mandatory);
      if (!soon || id === (running || BUILTIN)) {
        await asked(`switch to ${id}`, () => plugin.next({ id }));
      } else if (slot) {
        await asked(`switch to ${id}`, () => plugin.set({ id }));
      } else {
        await asked('go back to the built-in app', () => plugin.reset());
      }
    },
    async confirm() {
      await asked('confirm', () => plugin.notifyAppReady());
    },
    async failed() {
      const { bundles } = await plugin.list({ raw: true });
      const left = await plugin.getFailedUpdate(); // only once, so the list counts as well
      const failed = bundles.filter(({ status }) => status === 'error');
      return [...failed, ...(left ? [left.bundle] : [])].map(({ id }) => id);
    },
    reload: () => asked('reload', () => plugin.reload()), // switches to what `next` was told
    async keep(slots) {
      const kept = new Set([...slots.map(({ ref }) => ref), BUILTIN, await current()]);
      for (const { id, status } of (await plugin.list()).bundles) {
        if (kept.has(id) || status === 'downloading') continue;
        await plugin.delete({ id }).catch(() => {}); // what is about to run says no
      }
    },
  };
}

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
export async function capgoDevice({ plugin, platform, lowest = LOWEST_PLUGIN }) {
  const { version } = await plugin.getPluginVersion();
  const known = nativeVersion(version);
  if (!known || compareVersions(known, lowest) < 0) {
    throw new UpdateError(
      'plugin',
      `@capgo/capacitor-updater is ${version}, want ${lowest} or newer`,
    );
  }
  if ((await plugin.isAutoUpdateEnabled()).enabled) {
    throw new UpdateError('plugin', 'the plugin updates by itself: set `autoUpdate` to false');
  }
  return {
    id: (await plugin.getDeviceId()).deviceId,
    platform,
    native: (await plugin.current()).native,
    builtin: (await plugin.getBuiltinVersion()).version,
  };
}

/**
 * Remember in Capacitor's Preferences: native storage, which clearing the web view's data leaves.
 *
 * @param {object} preferences
 * @param {(options: { key: string }) => Promise<{ value: string | null }>} preferences.get
 * @param {(options: { key: string, value: string }) => Promise<unknown>} preferences.set
 * @param {(options: { key: string }) => Promise<unknown>} preferences.remove
 * @returns {Storage}
 */
export function preferencesStorage(preferences) {
  return {
    get: async (key) => (await preferences.get({ key })).value,
    set: (key, value) => preferences.set({ key, value }),
    remove: (key) => preferences.remove({ key }),
  };
}

/** Return what opens and checks a bundle, spelled for the plugin. @param {Release} release */
function secrets({ capgo, bundle }) {
  // The plugin takes such a bundle only where the app has no public key.
  if (!capgo) return { checksum: bundle.plain };
  const { iv, session_key, checksum, form } = capgo;
  return {
    sessionKey: `${base64(iv)}:${base64(session_key)}`,
    checksum: spelled(checksum, form),
  };
}

/**
 * Return a release's single files as the plugin wants them, which then fetches those it lacks; `null`
 * if it has none. The list is bound by its signed digest, so names, digests and blobs belong together.
 *
 * @param {Plan} plan
 */
async function listed({ release, url, fetch }) {
  if (!release.files || release.files.size > LIST_BYTES) return null; // not even fetched
  const read = new Reader(decode(await fetch(release.files), LIST_BYTES), '$');
  read.text('type', /^files\.v1$/, 'files.v1');
  let bytes = 0;
  const entries = read.list('files', LIMITS.files, (value, at) => {
    const one = new Reader(value, at);
    const br = one.text('encoding', /^(br|none)$/, '`br` or `none`') === 'br';
    bytes += one.integer('stored', 0, LIMITS.bundle);
    return {
      file_name: one.text('path', /./) + (br ? '.br' : ''),
      file_hash: release.capgo
        ? spelled(one.bytes('checksum', 256), release.capgo.form)
        : one.digest('sha256'),
      download_url: url(one.digest('blob')),
    };
  });
  return { entries, bytes };
}

/**
 * Download by single files; `null` where that fails, since the plugin has no way out of its own.
 *
 * @param {Plugin} plugin
 * @param {Parameters<Plugin['download']>[0]} told
 */
async function downloaded(plugin, told) {
  try {
    return (await plugin.download(told)).id;
  } catch {
    return null;
  }
}

/** Spell a wrapped digest as plugins of its form read it. @param {Uint8Array} data  @param {string} form */
function spelled(data, form) {
  return form === 'v2' ? base64(data) : hex(data);
}

/** @param {Uint8Array} data */
function base64(data) {
  return btoa(String.fromCharCode(...data));
}

/** @param {string} status */
function isWhole(status) {
  return status === 'success' || status === 'pending';
}

/**
 * Tell of a download from 0 to 1; return how to stop.
 *
 * @param {Plugin} plugin
 * @param {string} version
 * @param {(part: number) => void} tell
 */
async function watch(plugin, version, tell) {
  const handle = await plugin.addListener('download', ({ percent, bundle }) => {
    if (bundle.version === version) tell(percent / 100);
  });
  return () => handle.remove();
}

/**
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function asked(what, ask) {
  try {
    return await ask();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UpdateError('plugin', `the plugin did not ${what}: ${why}`, error);
  }
}
