// The adapter for Node and Electron: folders, the link to the one that runs, and what a kill leaves.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { createUpdater } from '../../manifestgen/client/manifestgen.js';
import { fileStorage, inflate, nodeAdapter } from '../../manifestgen/client/node.js';
import { code, flipped, key, now, root, server, site, skip } from './site.js';

const folders = [];
after(() => folders.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true })));

/** One installation: a folder, and a new updater at each start. */
class Desk {
  constructor() {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'manifestgen-'));
    folders.push(this.folder);
    this.storage = fileStorage(this.folder);
  }

  open(name, broken, keys = [key]) {
    this.adapter = nodeAdapter({ folder: this.folder, keys });
    const { fetch, asked } = server(name, broken);
    this.asked = asked;
    return createUpdater({
      ...{ site, root, fetch, storage: this.storage, adapter: this.adapter },
      device: { builtin: '1.0.0' },
      now: () => now,
    });
  }

  async update(name, broken, keys) {
    const updater = this.open(name, broken, keys);
    await updater.start();
    const { action } = await updater.check();
    if (action === 'none') return action;
    await updater.download();
    return (await updater.apply()).action;
  }

  async restart(name, { confirm = true } = {}) {
    const updater = this.open(name);
    await updater.start();
    if (confirm) await updater.confirm();
    return this.page();
  }

  /** What a window that loads `current/index.html` shows. */
  page() {
    const file = path.join(this.folder, 'current', 'index.html');
    return fs.existsSync(file)
      ? /<title>(.*)<\/title>/.exec(fs.readFileSync(file, 'utf8'))[1]
      : null;
  }

  bundles() {
    return fs.readdirSync(path.join(this.folder, 'bundles')).length;
  }
}

test('a release is unpacked, switched to, and kept once confirmed', { skip }, async () => {
  const desk = new Desk();
  assert.equal(await desk.update('first'), 'installed');
  assert.equal(await desk.restart('first'), '1.1.0');
  assert.equal(await desk.update('first'), 'none');
  assert.equal(await desk.adapter.path(), fs.realpathSync(path.join(desk.folder, 'current')));
});

test(
  'a release that is not confirmed before the second start is left for good',
  { skip },
  async () => {
    const desk = new Desk();
    await desk.update('first');
    await desk.restart('first');
    await desk.update('second');
    assert.equal(await desk.restart('second', { confirm: false }), '1.2.0');
    assert.equal(await desk.restart('second', { confirm: false }), '1.1.0');
    assert.equal(await desk.update('second'), 'none');
  },
);

test('the first release of all gives way to the app as installed', { skip }, async () => {
  const desk = new Desk();
  await desk.update('first');
  await desk.restart('first', { confirm: false });
  assert.equal(await desk.restart('first', { confirm: false }), null);
  assert.equal(await desk.adapter.path(), null);
});

test('a withdrawn release goes back to the app as installed', { skip }, async () => {
  const desk = new Desk();
  await desk.update('first');
  await desk.restart('first');
  assert.equal(await desk.update('withdrawn'), 'reset');
  assert.equal(desk.page(), null);
});

const small = (change) => (data) => (data.length < 5_000 ? change(data) : data); // the patch
const PATCHED = {
  'a patch': ['patched', undefined, 'patch', 1],
  'a bundle, where the patch was altered': ['patched', small(flipped), 'bundle', 2],
  'a bundle, where the patch is missing': ['patched', small(() => null), 'bundle', 2],
  'a bundle, where the patch is nonsense': ['badly patched', undefined, 'bundle', 2],
  'a bundle, where the patch is for another base': [
    'patched from another base',
    undefined,
    'bundle',
    2,
  ],
};
for (const [name, [where, broken, via, blobs]] of Object.entries(PATCHED)) {
  test(`what runs is updated by ${name}`, { skip }, async () => {
    const desk = new Desk();
    await desk.update('base');
    await desk.restart('base');
    const updater = desk.open(where, broken);
    assert.equal((await updater.download()).via, via);
    assert.equal(desk.asked.filter((url) => url.includes('/blobs/')).length, blobs);
    await updater.apply();
    assert.equal(await desk.restart(where), '1.2.0');
  });
}

test('a base that was altered is mended with the bundle', { skip }, async () => {
  const desk = new Desk();
  await desk.update('base');
  await desk.restart('base');
  fs.writeFileSync(path.join(desk.folder, 'current', 'same.bin'), 'altered');
  const updater = desk.open('patched');
  assert.equal((await updater.download()).via, 'bundle');
});

const REFUSED = {
  'an altered blob': ['first', flipped, 'digest'],
  'a cut blob': ['first', (data) => data.slice(0, -1), 'store'],
  'a missing blob': ['first', () => null, 'store'],
  'a path that leads out': ['slip', undefined, 'path'],
  'other files than were signed': ['other files', undefined, 'tree'],
  'a manifest of somebody else': ['forged', undefined, 'signature'],
};
for (const [name, [where, broken, want]] of Object.entries(REFUSED)) {
  test(`refused, and nothing changed: ${name}`, { skip }, async () => {
    const desk = new Desk();
    assert.equal(await code(() => desk.update(where, broken)), want);
    assert.equal(desk.page(), null);
    assert.equal(fs.existsSync(path.join(path.dirname(desk.folder), 'index.html')), false);
  });
}

test('an encrypted release needs a key', { skip }, async () => {
  assert.equal(await code(() => new Desk().update('first', undefined, [])), 'key');
});

test('what runs and what ran before it stay, the rest goes', { skip }, async () => {
  const desk = new Desk();
  for (const name of ['first', 'second', 'third']) {
    await desk.update(name);
    await desk.restart(name);
  }
  assert.equal(desk.bundles(), 2);
});

test(
  'a release that is there whole is not fetched again; one that was altered is',
  { skip },
  async () => {
    const desk = new Desk();
    await desk.update('first');
    await desk.restart('first');
    await desk.open('first').check();
    const index = path.join(desk.folder, 'current', 'index.html');
    fs.writeFileSync(index, 'altered');
    assert.equal(await desk.update('first'), 'installed');
    assert.equal(desk.page(), '1.1.0');
    assert.equal(
      desk.asked.some((url) => url.includes('/blobs/')),
      true,
    );
  },
);

test('what a kill left in staging is in nobody’s way', { skip }, async () => {
  const desk = new Desk();
  const staging = path.join(desk.folder, 'staging', 'assets');
  fs.mkdirSync(staging, { recursive: true });
  fs.writeFileSync(path.join(staging, 'half.js'), 'half');
  await desk.update('first');
  assert.equal(await desk.restart('first'), '1.1.0');
});

test('a link is not followed into a bundle', { skip }, async () => {
  const desk = new Desk();
  await desk.update('first');
  const index = path.join(desk.folder, 'current', 'index.html');
  fs.rmSync(index);
  fs.symlinkSync('/etc/hostname', index);
  const [tree] = fs.readdirSync(path.join(desk.folder, 'bundles'));
  assert.equal(await desk.adapter.holds({ version: '1.1.0', tree, ref: tree }), false);
});

test(
  'where links cannot be made, `current` is a file that names the folder',
  { skip },
  async () => {
    const desk = new Desk();
    await desk.update('first');
    const at = path.join(desk.folder, 'current');
    const target = fs.readlinkSync(at).replaceAll('/', '\\');
    fs.rmSync(at);
    fs.writeFileSync(at, `${target}\r\n`);
    assert.match(await desk.adapter.current(), /^[0-9a-f]{64}$/);
  },
);

test('two runs of one process take turns; another process is asked to wait', { skip }, async () => {
  const desk = new Desk();
  await Promise.all([desk.open('first').download(), desk.open('first').download()]);
  const lock = path.join(desk.folder, 'lock');
  fs.writeFileSync(lock, String(process.ppid));
  assert.equal(await code(() => desk.open('first').check()), 'busy');
  const started = Date.now() / 1000 - os.uptime();
  fs.utimesSync(lock, started - 60, started - 60); // power was cut, and the number is another's now
  assert.equal((await desk.open('first').check()).action, 'install');
  fs.writeFileSync(lock, '4194304'); // beyond the numbers Linux gives: it has died
  assert.equal((await desk.open('first').check()).action, 'install');
});

test('files remember text by any name, and half of none', async () => {
  const desk = new Desk();
  assert.equal(await desk.storage.get('../a/b'), null);
  await desk.storage.set('../a/b', 'ü');
  fs.writeFileSync(path.join(desk.folder, 'memory', 'state.txt.new'), 'hal'); // cut by a kill
  assert.equal(await desk.storage.get('../a/b'), 'ü');
  assert.equal(await desk.storage.get('state'), null);
  await desk.storage.remove('../a/b');
  await desk.storage.remove('../a/b');
  assert.equal(await desk.storage.get('../a/b'), null);
});

test('zlib stops at the declared size', async () => {
  const { deflateRawSync } = await import('node:zlib');
  const packed = new Uint8Array(deflateRawSync(Buffer.alloc(30_000_000)));
  await assert.rejects(inflate(packed, 100));
  await assert.rejects(inflate(new Uint8Array([...deflateRawSync(Buffer.from('a')), 0]), 1));
});
