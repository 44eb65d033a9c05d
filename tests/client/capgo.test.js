// The adapter for the stock plugin, from a signed site to the plugin's own switch and back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { capgoAdapter, capgoDevice, preferencesStorage } from '../../manifestgen/client/capgo.js';
import { createUpdater } from '../../manifestgen/client/manifestgen.js';
import { FakeCapgo } from './fake_capgo.js';
import { code, flipped, key, memoryStorage, now, root, server, site, skip } from './site.js';

/** A phone: one plugin and one storage, and a new updater at each start of the app. */
class Phone {
  constructor({ when, publicKey = key, ...options } = {}) {
    this.storage = memoryStorage();
    this.when = when;
    this.plugin = new FakeCapgo({ publicKey, ...options });
    this.open('first');
  }

  /** Start the app, with the site as it now is. */
  open(name, broken) {
    const { fetch, read, asked } = server(name, broken);
    Object.assign(this, { asked });
    this.plugin.read = read;
    this.updater = createUpdater({
      site,
      root,
      storage: this.storage,
      adapter: capgoAdapter({ plugin: this.plugin, when: this.when }),
      device: { id: 'device-1', platform: 'android', native: '3.1.0', builtin: '1.0.0' },
      fetch,
      now: () => now,
    });
    return this.updater;
  }

  /** Check, download and apply; `apply` never returns where the plugin reloads. */
  async update(name, broken) {
    const updater = this.open(name, broken);
    await updater.start();
    const { action } = await updater.check();
    if (action === 'none') return action;
    await updater.download();
    const reloaded = new Promise((done) => (this.plugin.reloaded = done));
    await Promise.race([updater.apply(), reloaded]);
    return action;
  }

  /** Start the app anew; `confirm` says that it works. */
  async restart(name = 'first', { confirm = true } = {}) {
    this.plugin.launch();
    const updater = this.open(name);
    await updater.start();
    if (confirm) await updater.confirm();
    else this.plugin.timeout();
    return (await this.open(name).status()).running?.version ?? null;
  }

  get runs() {
    return this.plugin.bundles.get(this.plugin.running).version;
  }
}

test(
  'a release is downloaded, runs after the next start, and is kept once confirmed',
  { skip },
  async () => {
    const phone = new Phone();
    assert.equal(await phone.update('first'), 'install');
    assert.equal(phone.runs, '1.0.0');
    assert.equal(await phone.restart(), '1.1.0');
    assert.equal(phone.plugin.fallback, phone.plugin.running);
    assert.equal((await phone.updater.status()).confirmed, true);
    assert.equal(await phone.update('first'), 'none');
  },
);

test(
  'the plugin is always given the session key and the checksum, as it wants them',
  { skip },
  async () => {
    const phone = new Phone();
    await phone.update('first');
    const [{ url, version, sessionKey, checksum, ...rest }] = phone.plugin.told;
    assert.match(url, /^https:\/\/updates\.example\/app\/blobs\/[0-9a-f]{2}\/[0-9a-f]{64}\.bin$/);
    assert.equal(version, '1.1.0');
    assert.match(sessionKey, /^[A-Za-z0-9+/]{22}==:[A-Za-z0-9+/]{342}==$/);
    assert.match(checksum, /^[0-9a-f]{512}$/);
    assert.deepEqual(rest, {});
  },
);

test('a release that is not encrypted needs a plugin without a key', { skip }, async () => {
  const open = new Phone({ publicKey: '' });
  await open.update('plain');
  assert.match(open.plugin.told[0].checksum, /^[0-9a-f]{64}$/);
  assert.equal('sessionKey' in open.plugin.told[0], false);
  assert.equal(await open.restart('plain'), '1.1.0');
  assert.equal(await code(() => new Phone().update('plain')), 'plugin');
});

test('a mandatory release runs at once, others at the next start', { skip }, async () => {
  const phone = new Phone();
  await phone.update('mandatory');
  assert.equal(phone.runs, '1.2.0');
  assert.equal(await phone.restart('mandatory'), '1.2.0');
});

for (const [when, at] of Object.entries({ set: '1.1.0', next: '1.0.0' })) {
  test(`the policy \`${when}\` decides for all releases`, { skip }, async () => {
    const phone = new Phone({ when });
    await phone.update('first');
    assert.equal(phone.runs, at);
    assert.equal(await phone.restart(), '1.1.0');
  });
}

test('one that fails after one never confirmed is not installed again', { skip }, async () => {
  const phone = new Phone();
  await phone.update('first');
  await phone.restart('first');
  await phone.update('second');
  phone.plugin.launch();
  await phone.update('third');
  assert.equal(await phone.restart('third', { confirm: false }), '1.1.0');
  const { failed } = await phone.updater.status();
  assert.deepEqual(
    failed.map(({ version }) => version),
    ['1.3.0'],
  );
  assert.equal(await phone.update('third'), 'none');
});

test('a release that never says it works is left, and not installed again', { skip }, async () => {
  for (const autoDeleteFailed of [false, true]) {
    const phone = new Phone({ autoDeleteFailed });
    await phone.update('first');
    await phone.restart('first');
    await phone.update('second');
    assert.equal(await phone.restart('second', { confirm: false }), '1.1.0');
    const { failed } = await phone.updater.status();
    assert.deepEqual(
      failed.map(({ version }) => version),
      ['1.2.0'],
    );
    for (let i = 0; i < 3; i++) assert.equal(await phone.update('second'), 'none');
    assert.equal(phone.plugin.told.length, 2);
    assert.equal(await phone.restart('second'), '1.1.0');
  }
});

test(
  'a release that dies before anything is recorded is remembered as well',
  { skip },
  async () => {
    const phone = new Phone();
    await phone.update('first');
    phone.plugin.launch();
    phone.plugin.timeout(); // its JavaScript never ran
    assert.equal(phone.runs, '1.0.0');
    assert.equal(await phone.update('first'), 'none');
    assert.equal(phone.plugin.told.length, 1);
  },
);

test('a broken release gives way to the next one', { skip }, async () => {
  const phone = new Phone();
  await phone.update('first');
  await phone.restart('first', { confirm: false });
  assert.equal(await phone.update('second'), 'install');
  assert.equal(await phone.restart('second'), '1.2.0');
});

test('a withdrawn release goes back to the built-in app', { skip }, async () => {
  const phone = new Phone();
  await phone.update('first');
  await phone.restart('first');
  assert.equal(await phone.update('withdrawn'), 'reset');
  assert.equal(await phone.restart('withdrawn'), null);
  assert.equal(phone.runs, '1.0.0');
});

test(
  'an altered blob is refused by the plugin, and what runs keeps running',
  { skip },
  async () => {
    const phone = new Phone();
    assert.equal(await code(() => phone.update('first', flipped)), 'plugin');
    assert.equal(phone.runs, '1.0.0');
    assert.equal(await phone.update('first'), 'install'); // and nothing is held against it
    assert.equal(await phone.restart('first'), '1.1.0');
  },
);

test('the checksum of another bundle is refused by the plugin', { skip }, async () => {
  assert.equal(await code(() => new Phone().update('mixed')), 'plugin');
});

test(
  'a bundle without an index.html is refused before anything is switched',
  { skip },
  async () => {
    const phone = new Phone();
    assert.notEqual(await code(() => phone.update('headless')), null);
    assert.equal(phone.runs, '1.0.0');
  },
);

test('an unverified manifest reaches the plugin with nothing', { skip }, async () => {
  const phone = new Phone();
  assert.equal(await code(() => phone.update('forged')), 'signature');
  assert.deepEqual(phone.plugin.told, []);
});

test('an older manifest than the one seen reaches the plugin with nothing', { skip }, async () => {
  const phone = new Phone();
  await phone.update('second');
  await phone.restart('second');
  assert.equal(await code(() => phone.update('first')), 'replay');
  assert.equal(phone.plugin.told.length, 1);
});

test('what is staged is given up when it is offered no more', { skip }, async () => {
  const phone = new Phone();
  await phone.update('first');
  await phone.open('withdrawn').check();
  assert.equal(await phone.restart('withdrawn'), null);
  assert.equal(phone.runs, '1.0.0');
});

test(
  'only what runs, its predecessor and what comes next stay on the phone',
  { skip },
  async () => {
    const phone = new Phone();
    for (const name of ['first', 'second', 'third']) {
      await phone.update(name);
      await phone.restart(name);
    }
    const versions = [...phone.plugin.bundles.values()].map(({ version }) => version);
    assert.deepEqual(versions.sort(), ['1.0.0', '1.2.0', '1.3.0']);
  },
);

test('progress is told in bytes, and listening ends with the download', { skip }, async () => {
  const phone = new Phone();
  const told = [];
  const updater = phone.open('first');
  updater.on('progress', ({ loaded, total }) => told.push(loaded / total));
  await updater.download();
  assert.deepEqual(told, [0, 0.5, 1]);
  assert.equal(phone.plugin.listeners.size, 0);
});

test('the device is described as the plugin knows it', async () => {
  const plugin = new FakeCapgo({});
  assert.deepEqual(await capgoDevice({ plugin, platform: 'ios' }), {
    id: 'device-1',
    platform: 'ios',
    native: '3.1.0',
    builtin: '1.0.0',
  });
});

for (const version of ['8.51.22', '7.51.21', '6.51.16', 'unknown']) {
  test(`plugin ${version} is not driven`, async () => {
    const plugin = Object.assign(new FakeCapgo({}), { version });
    assert.equal(await code(() => capgoDevice({ plugin, platform: 'ios' })), 'plugin');
  });
}

test('an older plugin can be allowed by name, a newer one needs no permission', async () => {
  const plugin = Object.assign(new FakeCapgo({}), { version: '8.51.22' });
  await capgoDevice({ plugin, platform: 'ios', lowest: '8.51.0' });
  plugin.version = '8.52.0';
  await capgoDevice({ plugin, platform: 'ios' });
});

test('a plugin that updates by itself is not driven', async () => {
  const plugin = Object.assign(new FakeCapgo({}), { autoUpdate: true });
  assert.equal(await code(() => capgoDevice({ plugin, platform: 'ios' })), 'plugin');
});

test('Preferences hold text by name', async () => {
  const values = new Map();
  const storage = preferencesStorage({
    get: async ({ key }) => ({ value: values.get(key) ?? null }),
    set: async ({ key, value }) => void values.set(key, value),
    remove: async ({ key }) => void values.delete(key),
  });
  assert.equal(await storage.get('a'), null);
  await storage.set('a', 'b');
  assert.equal(await storage.get('a'), 'b');
  await storage.remove('a');
  assert.equal(await storage.get('a'), null);
});
