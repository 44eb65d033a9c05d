/**
 * A publisher, a site, a storage and a device in memory, for tests of the updater.
 *
 *     const world = new World();
 *     world.publish('1.4.2');
 *     await world.updater().check();
 *
 * Everything real but the network and the disk: keys sign, and the client verifies.
 */

import { createHash, generateKeyPairSync, sign } from 'node:crypto';

import { UpdateError, createUpdater, encode } from '../../manifestgen/client/manifestgen.js';

export const APP = 'com.example.app';
export const EPOCH = Date.UTC(2030, 0, 1);
export const DAY = 24 * 3600 * 1000;

export const sha256 = (data) => createHash('sha256').update(data).digest('hex');
export const time = (moment) => new Date(moment).toISOString().slice(0, 19) + 'Z';

/** An Ed25519 key pair, as roots list it. */
export class Key {
  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    this.private = privateKey;
    this.id = sha256(spki);
    this.json = { algorithm: 'ed25519', keyid: this.id, public: spki.toString('base64') };
  }
}

/** The file of a signed document. */
export function signed(body, ...keys) {
  const payload = Buffer.from(encode(body));
  const type = `application/vnd.manifestgen.${body.type}+json`;
  const message = Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} ${payload}`);
  const signatures = keys.map((key) => ({
    keyid: key.id,
    sig: sign(null, message, key.private).toString('base64'),
  }));
  return { signatures, signed: body };
}

const role = (...keys) => ({ keys: keys.map((key) => key.id), threshold: keys.length });

export class World {
  constructor() {
    this.keys = { root: new Key(), release: new Key(), manifest: new Key() };
    this.files = new Map();
    this.memory = new Map();
    this.device = new FakeDevice();
    this.now = EPOCH + DAY;
    this.sequence = 0;
    this.requests = [];
    this.builtIn = this.rotate({});
  }

  /** Sign the next root, with keys replaced; return its text. */
  rotate(changed, { by, ...members } = {}) {
    const old = this.keys.root;
    const first = !this.number;
    this.keys = { ...this.keys, ...changed };
    this.number = first ? 1 : this.number + 1;
    const { root, release, manifest } = this.keys;
    const unique = new Map([root, release, manifest].map((key) => [key.id, key.json]));
    const body = {
      app: APP,
      expires: time(EPOCH + 365 * DAY),
      issued: time(EPOCH),
      keys: [...unique.values()],
      max_days: 90,
      number: this.number,
      roles: {
        manifest: [{ channels: ['*'], ...role(manifest) }],
        release: role(release),
        root: role(root),
      },
      type: 'root.v1',
      ...members,
    };
    const text = encode(signed(body, ...(by || (old === root ? [root] : [old, root]))));
    this.files.set(`root/${this.number}.json`, text);
    this.files.set('root.json', text);
    return text;
  }

  /** A signed release; its bundle is a blob of the site. */
  release(version, members = {}) {
    const bundle = Buffer.from(`bundle of ${version}`);
    const blob = sha256(bundle);
    this.files.set(`blobs/${blob.slice(0, 2)}/${blob}.bin`, bundle);
    const body = {
      app: APP,
      bundle: { blob, plain: blob, plain_size: bundle.length, size: bundle.length },
      issued: time(EPOCH),
      scheme: 'none',
      tree: { digest: treeOf(version), files: 1, size: 1 },
      type: 'release.v1',
      version,
      ...members,
    };
    return signed(body, this.keys.release);
  }

  /** Put the next manifest of a channel on the site, offering these releases in order. */
  publish(...offers) {
    return this.publishWith({}, ...offers);
  }

  publishWith({ channel = 'production', by = this.keys.manifest, ...members }, ...offers) {
    this.sequence += 1;
    const body = {
      app: APP,
      channel,
      expires: time(EPOCH + 30 * DAY),
      issued: time(EPOCH),
      offers: offers.map((one) => ({
        release: typeof one === 'string' ? this.release(one) : one,
      })),
      root: this.number,
      sequence: this.sequence,
      type: 'manifest.v1',
      withdrawn: [],
      ...members,
    };
    const text = encode(signed(body, by));
    this.files.set(`${channel}/manifest.json`, text);
    return text;
  }

  updater(options = {}) {
    return createUpdater({
      site: 'https://cdn.example.com/app',
      root: this.builtIn,
      device: { id: 'device-1', platform: 'ios', native: '3.1.0', builtin: '1.0.0' },
      storage: memoryStorage(this.memory),
      adapter: this.device,
      fetch: (url, init) => this.fetch(url, init),
      now: () => this.now,
      ...options,
    });
  }

  async fetch(url, { cache } = {}) {
    const name = url.replace('https://cdn.example.com/app/', '');
    this.requests.push({ name, cache });
    const found = this.files.get(name);
    if (found instanceof Error) throw found;
    if (typeof found === 'function') return found(url);
    return new Response(found === undefined ? 'no such key' : found, {
      status: found === undefined ? 404 : 200,
    });
  }

  /** Check, download, apply: what an app does that wants everything at once. */
  async update(options) {
    const updater = this.updater(options);
    await updater.download();
    return updater.apply();
  }
}

export const treeOf = (version) => sha256(`tree of ${version}`);

export function memoryStorage(memory) {
  return {
    get: async (key) => (memory.has(key) ? memory.get(key) : null),
    set: async (key, value) => memory.set(key, value),
    remove: async (key) => memory.delete(key),
  };
}

/** A platform that holds bundles by their tree, and switches at once unless told otherwise. */
export class FakeDevice {
  constructor() {
    this.bundles = new Map();
    this.runs = null;
    this.next = undefined; // a switch that waits for the next start
    this.waits = false;
    this.confirmed = 0;
  }

  async current() {
    return this.runs;
  }

  async holds({ ref, tree }) {
    return this.bundles.get(ref) === tree;
  }

  async stage(plan) {
    const data = await plan.fetch(plan.release.bundle);
    const ref = plan.release.tree.digest;
    this.bundles.set(ref, ref);
    return { ref, via: 'bundle', bytes: data.length };
  }

  async switch(slot) {
    const ref = slot && slot.ref;
    if (ref !== null && !this.bundles.has(ref)) throw new UpdateError('store', 'no such bundle');
    if (this.waits) this.next = ref;
    else this.runs = ref;
  }

  async confirm() {
    this.confirmed += 1;
  }

  async keep(slots) {
    for (const ref of this.bundles.keys()) {
      if (!slots.some((slot) => slot.ref === ref)) this.bundles.delete(ref);
    }
  }

  /** Start the app again. */
  restart() {
    if (this.next !== undefined) this.runs = this.next;
    this.next = undefined;
  }
}
