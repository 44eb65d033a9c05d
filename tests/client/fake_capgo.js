// A stand-in for `@capgo/capacitor-updater` that enforces what its 8.51.23 enforces, as read in its
// source and seen in its behaviour: session key and checksum, their decryption with the public key,
// statuses, what may be switched to, and going back to the last success without `notifyAppReady`.
//
// `set` and `reset` reload the page, and `reloaded` is called; their promise never settles, as
// nothing of the page is left that could hear of it.

import { createDecipheriv, createHash, publicDecrypt } from 'node:crypto';
import { brotliDecompressSync } from 'node:zlib';

import { readMembers } from '../../manifestgen/client/bundle.js';

const NEVER = new Promise(() => {});
const BUILTIN = { id: 'builtin', version: '1.0.0', status: 'success' };

export class FakeCapgo {
  reloaded = () => {};
  autoUpdate = false;
  version = '8.51.23';
  told = [];

  /** `download` answers like a web server; `publicKey` is the one in `capacitor.config`. */
  constructor({ publicKey = '', read, autoDeleteFailed = false }) {
    Object.assign(this, { publicKey, read, autoDeleteFailed });
    this.bundles = new Map([['builtin', { ...BUILTIN }]]);
    this.whole = new Set(['builtin']); // with an index.html on disk
    [this.running, this.fallback, this.pending, this.lastFailed] = [
      'builtin',
      'builtin',
      null,
      null,
    ];
    this.listeners = new Set();
  }

  // --- what the adapter calls

  async download(options) {
    this.told.push(options);
    const { url, version, sessionKey = '', checksum = '', manifest } = options;
    if (!url) throw new Error('Download called without url');
    if (!version) throw new Error('Download called without version');
    if (this.publicKey && !/^[^:]+:[^:]+$/.test(sessionKey)) {
      throw new Error('Session key required when public key is present');
    }
    if (!checksum) throw new Error('Checksum required');
    const id = `bundle${String(this.bundles.size).padStart(4, '0')}`;
    const bundle = { id, version, status: 'downloading', checksum: '' };
    this.bundles.set(id, bundle);
    for (const percent of [0, 50, 100]) this.listeners.forEach((tell) => tell({ percent, bundle }));
    try {
      if (manifest) {
        if (this.#fetched(manifest, sessionKey).includes('index.html')) this.whole.add(id);
      } else {
        const zip = this.#opened(this.read(url), sessionKey, checksum);
        if (readMembers(zip).some((entry) => entry.path === 'index.html')) this.whole.add(id);
      }
    } catch (error) {
      bundle.status = 'error';
      throw new Error(`Failed to download from: ${url}`, { cause: error });
    }
    bundle.status = 'pending';
    return { ...bundle };
  }

  async next({ id }) {
    if (!this.#exists(id)) throw new Error(`Set next id failed. Bundle ${id} does not exist.`);
    this.pending = id;
    if (id !== 'builtin') this.bundles.get(id).status = 'pending';
    return { ...this.bundles.get(id) };
  }

  async set({ id }) {
    if (!this.#exists(id)) throw new Error(`Update failed, id ${id} does not exist.`);
    this.#run(id);
    return NEVER;
  }

  async reload() {
    this.launch();
    return NEVER;
  }

  async reset() {
    [this.fallback, this.pending] = ['builtin', null];
    this.#run('builtin');
    return NEVER;
  }

  async delete({ id }) {
    if (!this.bundles.has(id) || [this.running, this.pending, 'builtin'].includes(id)) {
      throw new Error(`Delete failed, id ${id} does not exist or it cannot be deleted`);
    }
    this.bundles.delete(id);
    this.whole.delete(id);
  }

  async notifyAppReady() {
    const bundle = this.bundles.get(this.running);
    bundle.status = 'success';
    this.fallback = this.running;
    return { bundle: { ...bundle } };
  }

  async current() {
    return { bundle: { ...this.bundles.get(this.running) }, native: '3.1.0' };
  }

  async list({ raw = false } = {}) {
    const found = [...this.bundles.values()].filter(({ id }) => id !== 'builtin');
    return {
      bundles: found.filter(({ id }) => raw || this.whole.has(id)).map((one) => ({ ...one })),
    };
  }

  async getFailedUpdate() {
    const failed = this.lastFailed;
    this.lastFailed = null;
    return failed && { bundle: failed };
  }

  async getBuiltinVersion() {
    return { version: '1.0.0' };
  }

  async getDeviceId() {
    return { deviceId: 'device-1' };
  }

  async getPluginVersion() {
    return { version: this.version };
  }

  async isAutoUpdateEnabled() {
    return { enabled: this.autoUpdate };
  }

  async addListener(event, listener) {
    if (event !== 'download') throw new Error(event);
    this.listeners.add(listener);
    return { remove: async () => this.listeners.delete(listener) };
  }

  // --- what a person and the time do

  /** Send the app to the background, or start it anew: what is pending runs from here on. */
  launch() {
    const next = this.pending;
    if (next && next !== this.running && this.#exists(next)) {
      this.pending = null;
      if (next === 'builtin') this.fallback = 'builtin';
      this.#run(next);
    }
  }

  /** Let `appReadyTimeout` pass. */
  timeout() {
    const bundle = this.bundles.get(this.running);
    if (bundle.id === 'builtin' || bundle.status === 'success') return;
    this.lastFailed = { ...bundle };
    bundle.status = 'error';
    this.#run(this.#exists(this.fallback) ? this.fallback : 'builtin');
    if (this.autoDeleteFailed) {
      bundle.status = 'deleted';
      this.whole.delete(bundle.id);
    }
  }

  // --- how

  #run(id) {
    this.running = id;
    if (id !== 'builtin') this.bundles.get(id).status = 'pending';
    this.reloaded();
  }

  #exists(id) {
    return this.whole.has(id) && this.bundles.get(id)?.status !== 'deleted';
  }

  /** Fetch each file, decrypt, decompress, compare, as the plugin does; return the paths. */
  #fetched(manifest, sessionKey) {
    return manifest.map(({ file_name, file_hash, download_url }) => {
      const compressed = file_name.endsWith('.br');
      const open = (data) => (compressed ? new Uint8Array(brotliDecompressSync(data)) : data);
      this.#opened(this.read(download_url), sessionKey, file_hash, open);
      return compressed ? file_name.slice(0, -3) : file_name;
    });
  }

  #opened(data, sessionKey, checksum, open = (plain) => plain) {
    if (!data) throw new Error('404');
    if (!this.publicKey) return compared(open(data), checksum);
    if (!this.publicKey.startsWith('-----BEGIN RSA PUBLIC KEY-----')) throw new Error('not PKCS#1');
    const [iv, wrapped] = sessionKey.split(':').map((part) => Buffer.from(part, 'base64'));
    if (iv.length !== 16) throw new Error('IV must be 16 bytes');
    const key = publicDecrypt(this.publicKey, wrapped);
    if (key.length !== 16) throw new Error('decrypted session key must be 16 bytes');
    const cipher = createDecipheriv('aes-128-cbc', key, iv);
    const zip = Buffer.concat([cipher.update(data), cipher.final()]);
    const spelling = /^[0-9a-fA-F]+$/.test(checksum) ? 'hex' : 'base64';
    const value = Buffer.from(checksum, spelling);
    if (value.length !== 256) throw new Error('Bundle checksum is not encrypted');
    return compared(open(new Uint8Array(zip)), publicDecrypt(this.publicKey, value).toString('hex'));
  }
}

function compared(zip, checksum) {
  if (createHash('sha256').update(zip).digest('hex') !== checksum) throw new Error('checksum_fail');
  return zip;
}
