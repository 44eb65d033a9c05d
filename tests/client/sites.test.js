/** Several copies of a site: the next is asked where one fails, and none spoils another. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { World, treeOf } from './simulator.mjs';

const MANIFEST = 'production/manifest.json';
const SITES = ['https://one.example/app', 'https://two.example/', 'https://three.example/a/b?key=k'];
const HOSTS = SITES.map((site) => new URL(site).host);

/** A world with one publisher, whose site has copies; `broken` are those of a host. */
function copies(broken = {}) {
  const world = new World();
  const asked = [];
  const fetch = async (url) => {
    const { host, pathname, search } = new URL(url);
    const [home] = SITES.filter((site) => new URL(site).host === host);
    const name = pathname.slice(new URL(home).pathname.replace(/\/*$/, '/').length);
    asked.push(`${host} ${name}${search}`);
    const files = { ...Object.fromEntries(world.files), ...broken[host] };
    if (files.all || files[name] instanceof Error) throw files.all || files[name];
    return new Response(files[name], { status: files[name] === undefined ? 404 : 200 });
  };
  const errors = [];
  const updater = world.updater({ site: SITES, fetch });
  updater.on('error', ({ code }) => errors.push(code));
  return { world, updater, asked, errors };
}

/** Check, download, apply. */
async function update({ updater, world }) {
  await updater.check();
  await updater.download();
  await updater.apply();
  return world.device.runs;
}

const DOWN = { all: new Error('connection refused') };

describe('several sites', () => {
  it('are asked in their order, and the first does while it can', async () => {
    const made = copies();
    made.world.publish('1.4.2');
    assert.equal(await update(made), treeOf('1.4.2'));
    assert.ok(made.asked.every((one) => one.startsWith(HOSTS[0])));
    assert.deepEqual(made.errors, []);
  });

  it('give way to the next where one cannot be reached, queries and all', async () => {
    const made = copies({ [HOSTS[0]]: DOWN, [HOSTS[1]]: DOWN });
    made.world.publish('1.4.2');
    assert.equal(await update(made), treeOf('1.4.2'));
    assert.ok(made.asked.includes(`${HOSTS[2]} ${MANIFEST}?key=k`));
    // What was good for the manifest is asked for the bundle.
    assert.ok(made.asked.filter((one) => one.includes('blobs/')).every((one) => one.endsWith('=k')));
    assert.deepEqual(made.errors, ['store', 'store']);
  });

  const REFUSED = {
    'a login page': ['<h1>Welcome!</h1>', 'format'],
    'a forged manifest': [null, 'signature'],
  };
  for (const [name, [text, code]] of Object.entries(REFUSED)) {
    it(`give way where one says what is refused: ${name}`, async () => {
      const broken = {};
      const made = copies({ [HOSTS[0]]: broken });
      const good = made.world.publish('1.4.2');
      broken[MANIFEST] = text || good.replace('"sequence":1', '"sequence":9');
      assert.equal(await update(made), treeOf('1.4.2'));
      assert.deepEqual(made.errors, [code]);
      assert.equal((await made.updater.status()).sequence, 1);
    });
  }

  it('one that is behind leads nowhere back', async () => {
    const broken = {};
    const made = copies({ [HOSTS[0]]: broken });
    broken[MANIFEST] = made.world.publish('1.4.2');
    await update(made);
    made.world.publish('1.4.3');
    // The first copy has the old manifest still, and nothing is wrong.
    assert.equal((await made.updater.check()).reason, 'current');
    broken[MANIFEST] = undefined;
    assert.equal(await update(made), treeOf('1.4.3'));
    broken[MANIFEST] = made.world.files.get(MANIFEST).replace('"sequence":2', '"sequence":1');
    assert.equal((await made.updater.check()).reason, 'current');
    assert.equal((await made.updater.status()).sequence, 2);
  });

  it('a blob that one lacks or spoils comes from another', async () => {
    for (const data of [undefined, Buffer.from('bundle of 9.9.9')]) {
      const broken = {};
      const made = copies({ [HOSTS[0]]: broken });
      made.world.publish('1.4.2');
      const [blob] = [...made.world.files.keys()].filter((name) => name.startsWith('blobs/'));
      broken[blob] = data;
      assert.equal(await update(made), treeOf('1.4.2'));
      assert.deepEqual(made.errors, [data ? 'digest' : 'store']);
    }
  });

  it('all failing fail as the first does, and what runs keeps running', async () => {
    const made = copies({ [HOSTS[0]]: { [MANIFEST]: '{}' }, [HOSTS[1]]: DOWN, [HOSTS[2]]: DOWN });
    await assert.rejects(made.updater.check(), { code: 'format' });
    assert.deepEqual(made.errors.sort(), ['format', 'store', 'store']);
    assert.equal(made.world.device.runs, null);
  });

  it('a storage that fails is not their fault', async () => {
    const made = copies();
    made.world.publish('1.4.2');
    const storage = { get: async () => null, set: () => Promise.reject(new Error('full')) };
    const asked = [];
    const fetch = async (url) => (asked.push(url), new Response('{}'));
    const updater = made.world.updater({ site: SITES, storage, fetch });
    await assert.rejects(updater.check(), { code: 'storage' });
    assert.deepEqual(asked, []);
  });

  it('none is a mistake', () => {
    assert.throws(() => new World().updater({ site: [] }), { code: 'usage' });
  });
});
