// Single files through the stock plugin: listed by the release, fetched by the plugin, or the bundle.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { capgoAdapter } from '../../manifestgen/client/capgo.js';
import { createUpdater } from '../../manifestgen/client/manifestgen.js';
import { FakeCapgo } from './fake_capgo.js';
import { flipped, key, memoryStorage, now, root, server, site, skip, versions } from './site.js';

const { list, files } = versions || {};

/** Download the release, with blobs as `broken(data, url)` leaves them; return plugin and outcome. */
async function download(broken = (data) => data) {
  const { read } = server('delta');
  const given = (url) => {
    const data = read(String(url));
    return data && broken(data, String(url));
  };
  const fetch = async (url) => new Response(given(url), { status: given(url) ? 200 : 404 });
  const plugin = new FakeCapgo({ publicKey: key, read: given });
  const adapter = capgoAdapter({ plugin });
  const device = { id: 'device-1', platform: 'android', native: '3.1.0', builtin: '0.1.0' };
  const options = { site, root, storage: memoryStorage(), device, fetch, now: () => now };
  const updater = createUpdater({ ...options, adapter });
  await updater.start();
  assert.equal((await updater.check()).action, 'install');
  await updater.download();
  return { plugin, told: plugin.told };
}

test('the plugin is told of every file, and fetches each', { skip }, async () => {
  const { plugin, told } = await download();
  assert.equal(told.length, 1);
  assert.deepEqual(told[0].manifest.map((one) => one.file_name).sort(), files);
  assert.ok(told[0].sessionKey && told[0].checksum && told[0].url);
  assert.ok([...plugin.bundles.values()].some((one) => one.status === 'pending'));
});

test('a list that is not the one signed is not used', { skip }, async () => {
  const { told } = await download((data, url) => (url.includes(list) ? flipped(data) : data));
  assert.deepEqual(
    told.map((one) => one.manifest),
    [undefined],
  );
});

test('a file that is not what was signed falls back to the bundle, once', { skip }, async () => {
  let first = null;
  const { told } = await download((data, url) => {
    if (!url.includes('/blobs/') || url.includes(list)) return data;
    first ??= url;
    return url === first ? flipped(data) : data;
  });
  assert.deepEqual(
    told.map((one) => Array.isArray(one.manifest)),
    [true, false],
  );
});

test('a list that is signed as larger than lists are is not even fetched', async () => {
  const told = [];
  const plugin = {
    addListener: async () => ({ remove: async () => {} }),
    download: async (options) => told.push(options) && { id: 'downloaded' },
  };
  const digest = '0'.repeat(64);
  const payload = (size) => ({ blob: digest, size, plain: digest, plain_size: size });
  const release = { version: '1.0.0', capgo: null, bundle: payload(1), files: payload(2 ** 22 + 1) };
  let fetched = 0;
  const fetch = async () => (fetched += 1) && Promise.reject(new Error('not there'));
  const plan = { release, url: (blob) => `${site}/${blob}`, fetch, progress: () => {} };
  const { via } = await capgoAdapter({ plugin }).stage(plan);
  assert.deepEqual([via, told.length, fetched], ['bundle', 1, 0]);
});
