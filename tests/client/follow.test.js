/** Following a site while developing: what is shown, what is asked, what is said, and when it ends. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { afterEach, describe, it } from 'node:test';

import { follow } from '../../manifestgen/client/follow.js';
import { nodeAdapter } from '../../manifestgen/client/node.js';
import { World, treeOf } from './simulator.mjs';

const MANIFEST = 'production/manifest.json';

/** Wait until something holds; never is a failure. */
async function until(holds) {
  for (let n = 0; n < 5000; n++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 2));
  }
  assert.fail(`it did not come about: ${holds}`);
}

const going = [];
const stopAll = () => going.splice(0).forEach((one) => one.abort());

/** Follow a world until the test ends; what is said and shown is noted. */
function following(world, { reload, ...options } = {}) {
  const stop = new AbortController();
  going.push(stop);
  const seen = { said: [], shown: [], stop };
  seen.ended = follow(world.updater(options), {
    every: 3,
    signal: stop.signal,
    reload: reload === undefined ? () => seen.shown.push(world.device.runs) : reload,
    say: (error) => seen.said.push(error && error.code),
  });
  return seen;
}

/** Wait for some more looks. */
async function looks(world, count = 4) {
  const before = world.requests.length;
  await until(() => world.requests.length >= before + count);
  return world.requests.slice(before).map(({ name }) => name);
}

describe('following', () => {
  afterEach(stopAll);

  it('shows each save', async () => {
    const world = new World();
    const versions = ['2.0.0', '2.0.1', '2.0.2'];
    world.publish(versions[0]);
    const seen = following(world);
    for (const version of versions) {
      world.publish(version);
      await until(() => seen.shown.includes(treeOf(version)));
    }
    assert.deepEqual([seen.shown, seen.said], [versions.map(treeOf), []]);
  });

  it('asks for the manifest alone while nothing is new', async () => {
    const world = new World();
    world.publish('2.0.0');
    const seen = following(world);
    await until(() => seen.shown.length);
    await looks(world, 1);
    assert.deepEqual(new Set(await looks(world)), new Set([MANIFEST]));
    assert.ok(world.requests.every(({ name, cache }) => name !== MANIFEST || cache === 'no-cache'));
    world.publish('2.0.0'); // renewed, with nothing new in it
    await looks(world);
    assert.deepEqual(seen.shown, [treeOf('2.0.0')]);
  });

  it('says once why nothing comes, and that it is over', async () => {
    const world = new World();
    world.publish('2.0.0');
    const seen = following(world);
    await until(() => seen.shown.length);
    const good = world.files.get(MANIFEST);
    world.files.set(MANIFEST, good.replace('"sequence":1', '"sequence":2'));
    await looks(world);
    world.files.set(MANIFEST, new Error('connection refused'));
    await looks(world);
    assert.deepEqual(seen.said, ['signature', 'store']);
    world.publish('2.0.1');
    await until(() => seen.shown.length === 2);
    await until(() => seen.said.length === 3);
    assert.deepEqual(seen.said, ['signature', 'store', null]);
    world.files.delete(MANIFEST);
    await looks(world);
    assert.deepEqual(seen.said, ['signature', 'store', null, 'store']);
  });

  it('tries again what could not be downloaded', async () => {
    const world = new World();
    world.publish('2.0.0');
    const blobs = [...world.files].filter(([name]) => name.startsWith('blobs/'));
    blobs.forEach(([name]) => world.files.delete(name));
    const seen = following(world);
    await looks(world);
    assert.deepEqual([seen.said, seen.shown], [['store'], []]);
    blobs.forEach(([name, data]) => world.files.set(name, data));
    await until(() => seen.shown.length);
  });

  it('waits longer while it fails, and not for ever', async (test) => {
    const world = new World();
    const waits = [];
    const { setTimeout: real } = globalThis;
    test.mock.method(globalThis, 'setTimeout', (act, wait) => real(act, (waits.push(wait), 0)));
    const seen = following(world);
    while (waits.length < 5) await new Promise(setImmediate);
    world.publish('2.0.0');
    while (!seen.shown.length) await new Promise(setImmediate);
    const count = waits.length;
    while (waits.length < count + 2) await new Promise(setImmediate);
    assert.deepEqual([waits.slice(0, 5), waits[count]], [[6, 12, 15, 15, 15], 3]);
  });

  it('lets the platform show what is to run at the next start, once', async () => {
    const world = new World();
    world.device.waits = true;
    let reloads = 0;
    world.device.reload = async () => (reloads += 1);
    world.publish('2.0.0');
    following(world, { reload: null });
    await until(() => reloads);
    await looks(world);
    assert.deepEqual([reloads, world.device.next], [1, treeOf('2.0.0')]);
  });

  it('does not load again what the platform has switched to by itself', async () => {
    const world = new World();
    world.device.reload = () => assert.fail('loaded again');
    world.publish('2.0.0');
    const seen = following(world, { reload: null });
    await until(() => world.device.runs);
    await looks(world);
    assert.deepEqual(seen.said, []);
  });

  it('shows what another tab has switched to', async () => {
    const world = new World();
    world.publish('2.0.0');
    let shown = null;
    world.device.shown = async () => shown;
    following(world, { reload: () => (shown = world.device.runs) });
    await until(() => shown);
    world.publish('2.0.1');
    await world.update();
    await until(() => shown === treeOf('2.0.1'));
  });

  it('says once that it cannot be shown, and goes on', async () => {
    const world = new World();
    world.publish('2.0.0');
    const seen = following(world, { reload: () => Promise.reject(new Error('no window')) });
    await until(() => seen.said.length);
    await until(() => seen.said.length === 2);
    assert.deepEqual([seen.said, world.device.runs], [[undefined, null], treeOf('2.0.0')]);
  });

  it('does nothing in a page that nobody sees', async (test) => {
    const world = new World();
    world.publish('2.0.0');
    const page = Object.assign(new EventTarget(), { hidden: true });
    globalThis.document = page;
    test.after(() => delete globalThis.document);
    const seen = following(world);
    await until(() => seen.shown.length);
    const before = world.requests.length;
    world.publish('2.0.1');
    await new Promise((done) => setTimeout(done, 50));
    assert.equal(world.requests.length, before);
    page.hidden = false;
    page.dispatchEvent(new Event('visibilitychange'));
    await until(() => seen.shown.length === 2);
  });
});

describe('the end', () => {
  it('comes while it waits', async () => {
    const world = new World();
    world.publish('2.0.0');
    const stop = new AbortController();
    const ended = follow(world.updater(), { every: 1e9, signal: stop.signal });
    await until(() => world.device.runs);
    stop.abort();
    await ended;
  });

  it('comes before a download', async () => {
    const world = new World();
    world.publish('2.0.0');
    const stop = new AbortController();
    const manifest = world.files.get(MANIFEST);
    world.files.set(MANIFEST, () => (stop.abort(), new Response(manifest)));
    await follow(world.updater(), { signal: stop.signal });
    assert.equal(world.device.bundles.size, 0);
  });

  it('comes before anything is asked', async () => {
    const world = new World();
    await follow(world.updater(), { signal: AbortSignal.abort() });
    assert.deepEqual(world.requests, []);
  });
});

describe('on Node', () => {
  afterEach(stopAll);

  it('an unchanged manifest costs a 304, whoever asks is named', async (test) => {
    const world = new World();
    world.publish('2.0.0');
    const asked = [];
    const server = http.createServer((request, response) => {
      const { pathname, search } = new URL(request.url, 'http://localhost');
      const data = world.files.get(pathname.slice(1));
      const tag = data && `"${data.length} ${world.sequence}"`;
      const status = !data ? 404 : request.headers['if-none-match'] === tag ? 304 : 200;
      asked.push({ pathname, search, status });
      response.writeHead(status, tag ? { ETag: tag } : {});
      response.end(status === 200 ? data : '');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    test.after(() => server.closeAllConnections());
    test.after(() => server.close());
    const site = `http://127.0.0.1:${server.address().port}/?device=phone%201`;
    world.device.fetch = nodeAdapter({ folder: 'nowhere' }).fetch;
    const seen = following(world, { site, fetch: undefined });
    const answers = () => asked.filter(({ pathname }) => pathname === `/${MANIFEST}`);
    await until(() => answers().length > 4);
    assert.deepEqual(new Set(answers().map(({ status }) => status).slice(1)), new Set([304]));
    assert.ok(asked.every(({ search }) => search === '?device=phone%201'));
    world.publish('2.0.1');
    await until(() => seen.shown.length === 2);
  });
});
