/** The updater: what it refuses, what it remembers, and how it goes on after being cut short. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { LIMITS } from '../../manifestgen/client/manifestgen.js';
import {
  APP,
  DAY,
  EPOCH,
  FakeDevice,
  Key,
  World,
  memoryStorage,
  time,
  treeOf,
} from './simulator.mjs';

const MANIFEST = 'production/manifest.json';

/** A world whose device runs and has confirmed 1.4.2. */
async function running(version = '1.4.2', members = {}) {
  const world = new World();
  world.publish(world.release(version, members));
  await world.update();
  await world.updater().confirm();
  return world;
}

const refuses = (promise, code) => assert.rejects(promise, { code });

describe('an update', () => {
  it('goes from check to download to apply to confirm', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    const found = await updater.check();
    assert.deepEqual([found.action, found.version, found.reason], ['install', '1.4.2', null]);
    assert.deepEqual([(await updater.download()).action, world.device.runs], ['staged', null]);
    assert.equal((await updater.apply()).action, 'installed');
    assert.equal(world.device.runs, treeOf('1.4.2'));
    assert.equal((await updater.status()).confirmed, false);
    await updater.confirm();
    const status = await updater.status();
    assert.deepEqual([status.confirmed, status.running.version], [true, '1.4.2']);
    assert.deepEqual([status.app, status.sequence, status.root], [APP, 1, 1]);
    assert.equal((await updater.check()).reason, 'current');
  });

  it('tells of progress', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    const seen = [];
    const stop = updater.on('progress', ({ loaded, total }) => seen.push([loaded, total]));
    updater.on('progress', () => assert.fail('a listener that throws stops nothing'));
    const { error } = console;
    console.error = () => {};
    await updater.download();
    console.error = error;
    stop();
    assert.deepEqual(seen, [[15, 15]]);
  });

  it('fetches nothing twice', async () => {
    const world = new World();
    world.publish('1.4.2');
    await world.updater().download();
    assert.equal((await world.updater().download()).via, 'kept');
  });

  it('asks for documents past every cache', async () => {
    const world = new World();
    world.publish('1.4.2');
    await world.updater().download();
    assert.deepEqual(
      world.requests.map(({ name, cache }) => [name.split('/')[0], cache]),
      [
        ['root.json', 'no-cache'],
        ['production', 'no-cache'],
        ['blobs', 'default'],
      ],
    );
  });

  it('runs calls one after the other', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    const done = await Promise.all([updater.check(), updater.download(), updater.apply()]);
    assert.deepEqual(
      done.map((one) => one.action),
      ['install', 'staged', 'installed'],
    );
  });

  it('resets when what runs is withdrawn and nothing else offered', async () => {
    const world = await running();
    world.publishWith({ withdrawn: ['1.4.2'] });
    const updater = world.updater();
    assert.equal((await updater.check()).action, 'reset');
    assert.equal((await updater.apply()).action, 'reset');
    assert.deepEqual([world.device.runs, (await updater.status()).running], [null, null]);
  });

  it('found longer ago than its manifest lives is not downloaded', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    assert.equal((await updater.check()).action, 'install');
    world.now = EPOCH + 30 * DAY;
    await refuses(updater.download(), 'expired');
    assert.equal((await updater.status()).staged, null);
    world.publishWith({ expires: time(EPOCH + 60 * DAY) }, '1.5.0');
    assert.equal((await updater.download()).version, '1.5.0');
  });

  it('found before another tab knew better is not downloaded', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    await updater.check();
    world.publishWith({ withdrawn: ['1.4.2'] }, '1.5.0');
    await world.updater().check();
    assert.equal((await updater.download()).version, '1.5.0');
  });

  it('that failed since it was found is not downloaded', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    await updater.check();
    await world.update();
    for (const _ of [1, 2]) await world.updater().start(); // left: it was not confirmed
    assert.equal((await updater.download()).action, 'none');
  });

  it('that was found is downloaded without another look', async () => {
    const world = new World();
    world.publish('1.4.2');
    const updater = world.updater();
    await updater.check();
    world.files.delete(MANIFEST);
    assert.equal((await updater.download()).action, 'staged');
  });

  it('back to the built-in app is for as long as its manifest lives', async () => {
    const world = await running();
    world.publishWith({ withdrawn: ['1.4.2'] });
    const updater = world.updater();
    assert.equal((await updater.check()).action, 'reset');
    world.now = EPOCH + 30 * DAY;
    assert.equal((await updater.apply()).action, 'none');
    assert.equal(world.device.runs, treeOf('1.4.2'));
  });

  it('gives up what was staged when it is withdrawn', async () => {
    const world = new World();
    world.publish('1.4.2');
    await world.updater().download();
    world.publishWith({ withdrawn: ['1.4.2'] });
    const updater = world.updater();
    await updater.check();
    assert.equal((await updater.apply()).action, 'none');
    assert.equal(world.device.bundles.size, 0);
  });

  it('mends what runs when its files are gone', async () => {
    const world = await running();
    world.device.bundles.clear();
    assert.equal((await world.updater().download()).action, 'staged');
    await world.updater().apply();
    assert.equal((await world.updater().status()).confirmed, true);
  });
});

describe('a manifest', () => {
  /** Each leaves the device as it was; `bend` changes a site that offers 1.5.0. */
  const cases = {
    'replayed is refused': ['replay', (world, old) => world.files.set(MANIFEST, old)],
    'with a second content is refused': [
      'equivocation',
      (world) => {
        world.sequence = 0;
        world.publish('1.5.0');
      },
    ],
    'expired is refused': ['expired', (world) => (world.now = EPOCH + 30 * DAY)],
    'from the future is refused': [
      'future',
      (world) => world.publishWith({ issued: time(EPOCH + 3 * DAY) }, '1.5.0'),
    ],
    'of another app is refused': [
      'wrong_app',
      (world) => world.publishWith({ app: 'com.example.other' }, '1.5.0'),
    ],
    'of another channel is refused': [
      'wrong_channel',
      (world) => {
        world.publishWith({ channel: 'beta' }, '1.5.0');
        world.files.set(MANIFEST, world.files.get('beta/manifest.json'));
      },
    ],
    'by another key is refused': [
      'signature',
      (world) => world.publishWith({ by: new Key() }, '1.5.0'),
    ],
    'cut short is refused': [
      'format',
      (world) => world.files.set(MANIFEST, world.files.get(MANIFEST).slice(0, -9)),
    ],
    'altered is refused': [
      'signature',
      (world) => world.files.set(MANIFEST, world.files.get(MANIFEST).replace('1.5.0', '1.5.1')),
    ],
    'that is a login page is refused': [
      'format',
      (world) => world.files.set(MANIFEST, '<!doctype html><title>Log in</title>'),
    ],
    'of nothing is refused': ['format', (world) => world.files.set(MANIFEST, '')],
    'nested 100,000 deep is refused': [
      'format',
      (world) => world.files.set(MANIFEST, '['.repeat(100_000) + ']'.repeat(100_000)),
    ],
    'that is too large is refused': [
      'too_large',
      (world) => world.files.set(MANIFEST, 'x'.repeat(LIMITS.manifest + 1)),
    ],
    'that is missing is refused': ['store', (world) => world.files.delete(MANIFEST)],
    'out of reach is refused': [
      'store',
      (world) => world.files.set(MANIFEST, new TypeError('fetch failed')),
    ],
    'of a broken server is refused': [
      'store',
      (world) => world.files.set(MANIFEST, () => new Response('sorry', { status: 502 })),
    ],
    'from another origin is refused': ['store', redirected('https://login.example.net/')],
    'from another port is refused': ['store', redirected('https://cdn.example.com:8443/')],
    'over http after https is refused': ['store', redirected('http://cdn.example.com/')],
    'of a root not to be had is refused': [
      'root_unknown',
      (world) => world.publishWith({ root: 2 }, '1.5.0'),
    ],
  };
  for (const [name, [code, bend]] of Object.entries(cases)) {
    it(name, async () => {
      const world = await running();
      const old = world.files.get(MANIFEST);
      world.publish('1.5.0');
      if (code === 'replay') await world.updater().check();
      await bend(world, old);
      const before = new Map(world.memory);
      await refuses(world.updater().check(), code);
      assert.deepEqual(world.memory, before);
      assert.equal(world.device.runs, treeOf('1.4.2'));
    });
  }

  it('may come by a redirect on the same host', async () => {
    const world = await running();
    redirected('https://cdn.example.com/other/')(world);
    assert.equal((await world.updater().check()).reason, 'current');
  });

  it('that never ends is cut off at its limit', async () => {
    const world = await running();
    let sent = 0;
    const body = new ReadableStream({
      pull: (stream) => stream.enqueue(new Uint8Array((sent += 65536) && 65536)),
    });
    world.files.set(MANIFEST, () => new Response(body));
    await refuses(world.updater().check(), 'too_large');
    assert.ok(sent < 2 * LIMITS.manifest);
  });

  it('that trickles is given up', async () => {
    const world = await running();
    const body = new ReadableStream({ start: (stream) => stream.enqueue(new Uint8Array(1)) });
    world.files.set(MANIFEST, () => new Response(body));
    await refuses(world.updater({ patience: 20 }).check(), 'store');
  });

  it('that never answers is given up', async () => {
    const world = await running();
    world.files.set(MANIFEST, () => new Promise(() => {}));
    await refuses(world.updater({ patience: 20 }).check(), 'store');
  });

  it('is read from browsers without streams', async () => {
    const world = new World();
    const text = world.publish('1.4.2');
    const arrayBuffer = async () => new TextEncoder().encode(text).buffer;
    world.files.set(MANIFEST, () => ({ status: 200, url: '', body: null, arrayBuffer }));
    assert.equal((await world.updater().check()).action, 'install');
  });

  it('accepted moves the clock floor, so a clock set back cannot revive an old one', async () => {
    const world = await running();
    world.now = EPOCH + 29 * DAY;
    world.publishWith({ issued: time(EPOCH + 29 * DAY), expires: time(EPOCH + 59 * DAY) }, '1.4.2');
    await world.updater().check();
    world.now = EPOCH;
    world.publish('1.5.0');
    world.files.set(MANIFEST, world.publishWith({ expires: time(EPOCH + 20 * DAY) }, '1.5.0'));
    await refuses(world.updater().check(), 'expired');
  });

  it('is remembered before anything is downloaded', async () => {
    const world = await running();
    const old = world.files.get(MANIFEST);
    world.publish('1.5.0');
    for (const name of world.files.keys()) if (name.startsWith('blobs/')) world.files.delete(name);
    await refuses(world.updater().download(), 'store');
    world.files.set(MANIFEST, old);
    await refuses(world.updater().check(), 'replay');
  });
});

describe('a bundle', () => {
  const cases = {
    altered: ['digest', (data) => data.map((byte) => byte ^ 1)],
    'cut short': ['store', (data) => data.subarray(1)],
    'of nothing': ['store', () => new Uint8Array(0)],
  };
  for (const [name, [code, bend]] of Object.entries(cases)) {
    it(`${name} is refused, and a good one taken later`, async () => {
      const world = await running();
      world.publish('1.5.0');
      const blob = [...world.files.keys()].filter((one) => one.startsWith('blobs/')).pop();
      const good = world.files.get(blob);
      world.files.set(blob, bend(good));
      await refuses(world.updater().download(), code);
      assert.equal(world.device.runs, treeOf('1.4.2'));
      world.files.set(blob, good);
      assert.equal((await world.update()).action, 'installed');
    });
  }

  it('whose release a new root does not stand behind is not switched to', async () => {
    const world = await running();
    world.publish('1.5.0');
    await world.updater().download();
    world.rotate({ release: new Key() });
    world.publish();
    const updater = world.updater();
    world.now += 2 * DAY;
    await updater.check();
    assert.equal((await updater.apply()).action, 'none');
    assert.equal(world.device.runs, treeOf('1.4.2'));
  });

  it('whose release a new root does not stand behind is given up where no manifest can be had', async () => {
    const world = await running();
    world.publish('1.5.0');
    await world.updater().download();
    world.rotate({ release: new Key() });
    world.files.delete(MANIFEST);
    world.now += 2 * DAY;
    await refuses(world.updater().check(), 'store');
    await refuses(world.updater().apply(), 'store');
    const { running: runs, staged } = await world.updater().status();
    assert.deepEqual([runs.version, staged], ['1.4.2', null]);
  });
});

describe('the root', () => {
  it('moves along the chain, at once when a manifest names a newer one', async () => {
    const world = await running();
    world.rotate({ manifest: new Key() });
    world.rotate({ root: new Key() });
    world.publish('1.5.0');
    const roots = [];
    const updater = world.updater();
    updater.on('root', (number) => roots.push(number));
    assert.equal((await updater.check()).action, 'install');
    assert.deepEqual(roots, [2, 3]);
    assert.equal((await world.updater().status()).root, 3);
  });

  it('is looked at once a day', async () => {
    const world = await running();
    world.rotate({ release: new Key() });
    await world.updater().check();
    assert.equal((await world.updater().status()).root, 1);
    world.now += DAY;
    await world.updater().check();
    assert.equal((await world.updater().status()).root, 2);
    world.rotate({ release: new Key() });
    world.now -= 1000; // a clock set back says nothing of when that was
    await world.updater().check();
    assert.equal((await world.updater().status()).root, 3);
  });

  for (const [name, file] of Object.entries({
    'not there': undefined,
    forbidden: () => new Response('', { status: 403 }),
    'a login page': '<!doctype html>',
    'too large': 'x'.repeat(LIMITS.root + 1),
  })) {
    it(`that is ${name} is no news`, async () => {
      const world = await running();
      world.now += DAY;
      world.files.set('root.json', file);
      assert.equal((await world.updater().check()).reason, 'current');
    });
  }

  it('signed by the new keys alone is refused, and those before it are kept', async () => {
    const world = await running();
    world.rotate({ release: new Key() });
    const root = new Key();
    world.rotate({ root }, { by: [root] });
    world.now += DAY;
    await refuses(world.updater().check(), 'signature');
    assert.equal((await world.updater().status()).root, 2);
  });

  it('that has expired stops updates, not the app', async () => {
    const world = await running();
    world.now = EPOCH + 365 * DAY;
    await refuses(world.updater().check(), 'root_expired');
    assert.equal(world.device.runs, treeOf('1.4.2'));
  });

  it('is walked 64 steps a check', async () => {
    const world = await running();
    for (let n = 0; n < 70; n++) world.rotate({});
    world.publish('1.5.0');
    await refuses(world.updater().check(), 'root_unknown');
    assert.equal((await world.updater().status()).root, 65);
    assert.equal((await world.updater().check()).action, 'install');
  });

  it('without a stolen key undoes what it fast-forwarded', async () => {
    const world = await running();
    world.sequence = 2 ** 53 - 3;
    world.publishWith({ issued: time(EPOCH + 2 * DAY) }, '1.4.2');
    await world.updater().check();
    world.rotate({ manifest: new Key() });
    world.sequence = 2;
    world.publish('1.5.0');
    assert.equal((await world.updater().check()).action, 'install');
    assert.equal((await world.updater().status()).sequence, 3);
  });

  it('keeps what it still stands behind', async () => {
    const world = await running();
    const old = world.files.get(MANIFEST);
    world.publish('1.4.2');
    await world.updater().check();
    world.rotate({ release: new Key() });
    world.now += DAY;
    world.files.set(MANIFEST, old);
    await refuses(world.updater().check(), 'replay');
  });

  it('that takes a release away takes its floor too', async () => {
    const world = await running('1.4.2', { floor: '1.4.0' });
    assert.equal((await world.updater().status()).floor, '1.4.0');
    world.rotate({ release: new Key() });
    world.publish();
    await world.updater().check();
    assert.equal((await world.updater().status()).floor, null);
  });

  it('with a key that comes back does not bring back what was forgotten', async () => {
    const world = await running('1.4.2', { floor: '1.4.0' });
    world.publish('1.5.0'); // so that the floor is that of a release which is gone
    await world.update();
    await world.updater().confirm();
    world.sequence = 1000;
    world.publish('1.5.0');
    await world.updater().check();
    assert.equal((await world.updater().status()).floor, '1.4.0');
    const { manifest, release } = world.keys;
    world.rotate({ manifest: new Key(), release: new Key() });
    world.rotate({ manifest, release });
    world.sequence = 7;
    world.publish('1.5.0');
    assert.equal((await world.updater().check()).reason, 'current');
    const { root, sequence, floor } = await world.updater().status();
    assert.deepEqual([root, sequence, floor], [3, 8, null]);
  });

  it('pinned stays when the app comes with another', async () => {
    const world = await running();
    const other = new World();
    await world.updater({ root: other.builtIn }).check();
    assert.equal((await world.updater().status()).sequence, 1);
  });

  it('of a new project counts once the app remembers elsewhere', async () => {
    const world = await running();
    const other = new World();
    other.publish('2.0.0');
    const fetch = (url, init) => other.fetch(url, init);
    await refuses(world.updater({ root: other.builtIn, fetch }).check(), 'signature');
    other.device = world.device;
    await other.update();
    assert.equal(world.device.runs, treeOf('2.0.0'));
  });

  it('of another app is refused', async () => {
    const world = await running();
    const other = new World();
    other.number = 0;
    const root = other.rotate({}, { app: 'com.example.other' });
    await refuses(world.updater({ root }).check(), 'wrong_app');
  });
});

describe('a trial', () => {
  it('that is not confirmed by the second start has failed', async () => {
    const world = await running();
    world.publish('1.5.0');
    await world.update();
    assert.equal(await world.updater().start(), null);
    assert.equal((await world.updater().start()).version, '1.5.0');
    assert.equal(world.device.runs, treeOf('1.4.2'));
    const found = await world.updater().check();
    assert.deepEqual([found.reason, found.verdicts[0].reason], ['no_offer', 'failed']);
    assert.equal((await world.updater().status()).confirmed, true);
  });

  it('that is confirmed stays', async () => {
    const world = await running();
    world.publish('1.5.0');
    await world.update();
    for (const method of ['start', 'confirm', 'start', 'start']) await world.updater()[method]();
    assert.equal(world.device.runs, treeOf('1.5.0'));
  });

  it('goes back to the built-in app when the previous release is gone', async () => {
    const world = await running();
    world.publish('1.5.0');
    await world.update();
    world.device.bundles.delete(treeOf('1.4.2'));
    await world.updater().start();
    await world.updater().start();
    assert.equal(world.device.runs, null);
  });

  it('that the platform ends itself is remembered as failed', async () => {
    const world = await running();
    world.device.failed = async () => [];
    world.publish('1.5.0');
    await world.update();
    world.device.runs = treeOf('1.4.2');
    assert.equal((await world.updater().check()).verdicts[0].reason, 'failed');
  });

  it('that failed before the updater ever ran in it is remembered', async () => {
    const world = await running();
    world.device.waits = true;
    world.publish('1.5.0');
    assert.equal((await world.update()).action, 'pending');
    world.device.failed = async () => [treeOf('1.5.0')];
    world.device.next = undefined;
    assert.equal((await world.updater().check()).verdicts[0].reason, 'failed');
  });
});

describe('a trial after one that was never confirmed', () => {
  /** 1.4.2 is confirmed, 1.5.0 was not before 1.6.0 replaced it. */
  async function twice() {
    const world = await running();
    for (const version of ['1.5.0', '1.6.0']) {
      world.publish(version);
      await world.update();
    }
    return world;
  }

  it('goes back to what was confirmed', async () => {
    const world = await twice();
    await world.updater().start();
    assert.equal((await world.updater().start()).version, '1.6.0');
    assert.equal(world.device.runs, treeOf('1.4.2'));
    const { running: back, confirmed } = await world.updater().status();
    assert.deepEqual([back.version, confirmed], ['1.4.2', true]);
  });

  for (const [where, to] of Object.entries({
    'what was confirmed': '1.4.2',
    'what ran before it': '1.5.0',
    'the built-in app': null,
  })) {
    it(`has failed when the platform goes back to ${where}`, async () => {
      const world = await twice();
      world.device.failed = async () => [treeOf('1.6.0')];
      world.device.runs = to && treeOf(to);
      const left = [];
      const updater = world.updater();
      updater.on('rolled_back', ({ version }) => left.push(version));
      const { verdicts } = await updater.check();
      assert.deepEqual([verdicts[0].reason, left], ['failed', ['1.6.0']]);
      const { running: back } = await world.updater().status();
      assert.equal(back && back.version, to === '1.5.0' ? null : to);
    });
  }

  it('has not failed when a new native app comes with its own', async () => {
    const world = await twice();
    world.device.failed = async () => [];
    world.device.runs = null;
    assert.equal((await world.updater().check()).action, 'install');
  });
});

describe('the floor', () => {
  /** 1.4.3 has the files of 1.4.2, so nothing is left to confirm; its floor is its own. */
  async function sharing() {
    const world = await running();
    const tree = { digest: treeOf('1.4.2'), files: 1, size: 1 };
    world.publish(world.release('1.4.3', { floor: '1.4.0', tree }));
    await world.update();
    assert.equal((await world.updater().status()).confirmed, true);
    return world;
  }

  /** The state was lost, and what runs counts as confirmed. */
  async function forgotten() {
    const world = await running('1.4.3', { floor: '1.4.0' });
    world.memory.delete('manifestgen.state');
    return world;
  }

  const leaving = {
    'another is installed': async (world) => {
      world.publish('1.5.0');
      await world.update();
    },
    'another is confirmed': async (world) => {
      world.publish('1.5.0');
      await world.update();
      await world.updater().confirm();
    },
    'the same files come under another version': async (world) => {
      const tree = { digest: world.device.runs, files: 1, size: 1 };
      world.publish(world.release('1.4.4', { tree }));
      await world.update();
    },
    'the built-in app is back': async (world) => {
      world.publishWith({ withdrawn: ['1.4.3'] });
      const updater = world.updater();
      await updater.check();
      await updater.apply();
    },
    'the platform went elsewhere': async (world) => {
      await world.updater().check();
      world.device.runs = null;
    },
    'a switch was cut before its record': async (world) => {
      world.publish('1.5.0');
      await world.updater().download();
      world.device.runs = treeOf('1.5.0');
    },
  };
  for (const [how, from] of Object.entries({ 'by its files': sharing, 'by default': forgotten })) {
    for (const [name, leave] of Object.entries(leaving)) {
      it(`of what was confirmed ${how} counts after ${name}`, async () => {
        const world = await from();
        await leave(world);
        assert.equal((await world.updater().status()).floor, '1.4.0');
      });
    }
  }

  it('of a release that the manifest key padded counts', async () => {
    const world = await running();
    const release = world.release('1.5.0', { floor: '1.5.0' });
    const padding = { keyid: 'f'.repeat(64), sig: Buffer.alloc(100_000).toString('base64') };
    world.publish({ ...release, signatures: [...release.signatures, padding] });
    assert.equal((await world.update()).action, 'installed');
    await world.updater().confirm();
    world.publishWith({ withdrawn: ['1.5.0'] }, '1.4.2');
    assert.equal((await world.updater().check()).reason, 'floor');
  });

  it('of what was never confirmed does not', async () => {
    const world = await running();
    world.publish(world.release('1.5.0', { floor: '1.5.0' }));
    await world.update();
    world.publish('1.6.0');
    await world.update();
    await world.updater().confirm();
    assert.equal((await world.updater().status()).floor, null);
  });
});

describe('a switch at the next start', () => {
  async function pending() {
    const world = await running();
    world.device.waits = true;
    world.publish('1.5.0');
    await world.update();
    return world;
  }

  it('happens then, and is on trial', async () => {
    const world = await pending();
    assert.equal((await world.updater().status()).running.version, '1.4.2');
    await world.updater().confirm();
    world.device.restart();
    const status = await world.updater().status();
    assert.deepEqual([status.running.version, status.confirmed], ['1.5.0', false]);
  });

  it('is called off when the release is withdrawn', async () => {
    const world = await pending();
    world.publishWith({ withdrawn: ['1.5.0'] }, '1.4.2');
    await world.updater().check();
    world.device.restart();
    assert.equal(world.device.runs, treeOf('1.4.2'));
  });
});

describe('a lower version', () => {
  it('is taken when what runs is withdrawn, not below the floor', async () => {
    const world = await running('1.4.2', { floor: '1.4.0' });
    world.publishWith({ withdrawn: ['1.4.2'] }, '1.3.0');
    assert.equal((await world.updater().check()).reason, 'floor');
    world.publishWith({ withdrawn: ['1.4.2'] }, '1.4.1');
    assert.equal((await world.updater().check()).action, 'install');
  });

  it('is taken at the first check after a change of channel', async () => {
    const world = await running('1.5.0');
    world.publishWith({ channel: 'stable' }, '1.4.2');
    assert.equal((await world.updater().check()).reason, 'current');
    const updater = world.updater({ channel: 'stable' });
    assert.equal((await updater.check()).action, 'install');
    await updater.download();
    await updater.apply();
    assert.equal(world.device.runs, treeOf('1.4.2'));
  });

  it('is taken once after a change of channel, however late the switch', async () => {
    const world = await running('1.5.0');
    world.publishWith({ channel: 'stable' }, '1.4.2');
    world.device.waits = true;
    const updater = world.updater({ channel: 'stable' });
    await updater.download();
    assert.equal((await updater.apply()).action, 'pending');
    world.device.restart();
    const restarted = world.updater({ channel: 'stable' });
    await restarted.confirm();
    world.publishWith({ channel: 'stable' }, '1.3.0');
    assert.equal((await restarted.check()).reason, 'lower');
  });

  it('is not taken later', async () => {
    const world = await running('1.5.0');
    world.publishWith({ channel: 'stable' });
    await world.updater({ channel: 'stable' }).check();
    world.publishWith({ channel: 'stable' }, '1.4.2');
    assert.equal((await world.updater({ channel: 'stable' }).check()).reason, 'lower');
  });
});

describe('storage', () => {
  it('that is empty falls back on the release that runs', async () => {
    const world = await running('1.4.2', { floor: '1.4.0', issued: time(EPOCH + 20 * DAY) });
    world.memory.delete('manifestgen.state');
    world.memory.delete('manifestgen.manifest.production');
    const status = await world.updater().status();
    assert.deepEqual([status.running.version, status.floor], ['1.4.2', '1.4.0']);
    world.files.set(MANIFEST, world.publishWith({ expires: time(EPOCH + 19 * DAY) }, '1.5.0'));
    await refuses(world.updater().check(), 'expired');
  });

  for (const key of ['root', 'state', 'manifest.production', `release.${treeOf('1.4.2')}`]) {
    for (const [name, damage] of Object.entries({
      'cut short': (text) => text.slice(0, text.length / 2),
      'of something else': () => '{"a":1}',
      empty: () => '',
    })) {
      it(`${key} ${name} is as good as missing`, async () => {
        const world = await running();
        const full = `manifestgen.${key}`;
        world.memory.set(full, damage(world.memory.get(full)));
        world.publish('1.5.0');
        assert.equal((await world.update()).action, 'installed');
        await world.updater().confirm();
        assert.equal((await world.updater().status()).running.version, '1.5.0');
      });
    }
  }

  it('that has the manifest of another channel for this one remembers none', async () => {
    const world = await running();
    const other = world.publishWith({ channel: 'beta', sequence: 1000 }, '1.5.0');
    world.memory.set('manifestgen.manifest.production', other);
    assert.equal((await world.updater().status()).sequence, null);
  });

  it('is written by nothing that only asks', async () => {
    const world = new World();
    await world.updater().status();
    assert.equal(world.memory.size, 0);
  });

  it('holds no release that nothing leads to', async () => {
    const world = await running();
    for (const version of ['1.5.0', '1.6.0', '1.7.0']) {
      world.publish(version);
      await world.update();
      await world.updater().confirm();
    }
    const releases = [...world.memory.keys()].filter((key) => key.includes('.release.'));
    assert.equal(releases.length, 2);
    assert.equal(world.device.bundles.size, 2);
  });

  /** Everything a device does, from one start to the next. */
  async function life(world, options) {
    await world.updater(options).start();
    const updater = world.updater(options);
    await updater.download();
    await updater.apply();
    await world.updater(options).start();
    await world.updater(options).confirm();
  }

  /** The new release runs and is confirmed; or it was cut in its trial, and the old one is back. */
  async function settled(world, message) {
    const { running, confirmed, staged, root, floor, failed } = await world.updater().status();
    const left = failed.map((slot) => slot.version);
    assert.equal(running.ref, world.device.runs, message);
    assert.deepEqual([confirmed, staged, root], [true, null, 2], message);
    const ended = left.length ? ['1.4.2', ['1.5.0'], null] : ['1.5.0', [], '1.4.2'];
    assert.deepEqual([running.version, left, floor], ended, message);
  }

  async function ready() {
    const world = await running();
    world.rotate({ manifest: new Key() });
    world.now += DAY;
    world.publish(world.release('1.5.0', { floor: '1.4.2' }));
    return world;
  }

  for (const [name, what] of Object.entries({
    'that fails': false,
    'that is cut off after writing': true,
  })) {
    it(`${name} at any call leaves what the next run completes`, async () => {
      let cut = 0;
      for (let n = 1; ; n++) {
        const world = await ready();
        let calls = 0;
        const storage = memoryStorage(world.memory);
        const failing = Object.fromEntries(
          Object.entries(storage).map(([method, real]) => [
            method,
            async (...given) => {
              if ((calls += 1) !== n) return real(...given);
              if (what) await real(...given);
              throw new Error('disk full');
            },
          ]),
        );
        const failed = await life(world, { storage: failing }).then(
          () => false,
          (error) => error,
        );
        if (!failed) break;
        cut += 1;
        assert.equal(failed.code, 'storage');
        assert.ok([treeOf('1.4.2'), treeOf('1.5.0')].includes(world.device.runs));
        await life(world);
        await settled(world, `cut at call ${n}`);
      }
      assert.ok(cut > 20, `only ${cut} calls`);
    });
  }

  for (const method of ['stage', 'switch', 'confirm', 'current', 'holds']) {
    it(`is consistent when the platform fails to ${method}`, async () => {
      for (const after of [false, true]) {
        const world = await ready();
        const real = FakeDevice.prototype[method];
        let left = 1;
        world.device[method] = async function (...given) {
          if (after || !left) await real.apply(this, given);
          if (left--) throw new Error('killed');
          left = 0;
          return real.apply(this, given);
        };
        await assert.rejects(life(world), { message: 'killed' });
        delete world.device[method];
        await life(world);
        await settled(world, `${after}`);
      }
    });
  }
});

describe('a wrong call', () => {
  it('with a channel that is none is refused at once', () => {
    assert.throws(() => new World().updater({ channel: 'root' }), { code: 'usage' });
  });
});

function redirected(to) {
  return (world) => {
    const text = world.files.get(MANIFEST);
    world.files.set(MANIFEST, () => {
      const response = new Response(text);
      Object.defineProperty(response, 'url', { value: to + MANIFEST });
      return response;
    });
  };
}
