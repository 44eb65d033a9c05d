/** The parts of the client that need no site: primitives, canonical JSON, and where crypto is missing. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';

import * as client from '../../manifestgen/client/manifestgen.js';
import { Key, World } from './simulator.mjs';

const NOBLE = process.env.NOBLE_ED25519;
const { decode, encode, utf8 } = client;

describe('sha256', () => {
  it('is that of OpenSSL at every length around a block', async () => {
    for (let size = 0; size < 300; size++) {
      const data = new Uint8Array(randomBytes(size));
      const want = createHash('sha256').update(data).digest('hex');
      assert.equal(client.sha256(data), want);
      assert.equal(await client.digest(data), want);
    }
  });
});

describe('canonical JSON', () => {
  const refused = {
    'a key named __proto__': '{"__proto__":{}}',
    'duplicate keys': '{"a":1,"a":1}',
    'an integer that a double rounds': '9007199254740993',
    'an integer beyond every double': '1e400',
    'minus zero': '-0',
    'a fraction': '1.0',
    'a lone surrogate': '"\\ud800"',
    'a byte order mark': '\ufeff{}',
    'space at the end': '{} ',
    'members out of order': '{"b":1,"a":1}',
  };
  for (const [name, text] of Object.entries(refused)) {
    it(`has no ${name}`, () => {
      assert.throws(() => decode(utf8(text), 1000), { code: 'format' });
    });
  }

  it('is at most 16 deep, and deeper text exhausts no stack', () => {
    const nested = (depth) => utf8('['.repeat(depth) + ']'.repeat(depth));
    assert.deepEqual(decode(nested(16), 1000).length, 1);
    for (const depth of [17, 20_000, 5_000_000]) {
      assert.throws(() => decode(nested(depth), 2 * depth), { code: 'format' });
    }
  });

  it('has no value of another kind', () => {
    for (const value of [undefined, 1.5, NaN, 1n, () => 1, Symbol.iterator, [undefined]]) {
      assert.throws(() => encode(value), { code: 'format' });
    }
  });

  it('takes `constructor` for a name like any other', () => {
    assert.equal(encode(decode(utf8('{"constructor":1}'), 100)), '{"constructor":1}');
    assert.equal(new client.Reader({}, '$').has('constructor'), false);
  });
});

describe('where WebCrypto is missing', () => {
  const real = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
  const without = (value) =>
    Object.defineProperty(globalThis, 'crypto', { value, configurable: true });
  afterEach(() => Object.defineProperty(globalThis, 'crypto', real));

  for (const [name, crypto] of Object.entries({ crypto: undefined, 'crypto.subtle': {} })) {
    it(`without ${name} a clear error says so`, async () => {
      const world = new World();
      world.publish('1.4.2');
      without(crypto);
      await assert.rejects(world.updater().check(), { code: 'no_crypto' });
    });
  }

  it('a browser without Ed25519 says so', async () => {
    const world = new World();
    world.publish('1.4.2');
    const importKey = async () => {
      throw new DOMException('Unrecognized name.', 'NotSupportedError');
    };
    without({ subtle: { importKey } });
    await assert.rejects(world.updater().check(), { code: 'no_crypto' });
  });

  it('an injected verifier does, the whole way to the confirmed update', async (t) => {
    if (!NOBLE) return t.skip('NOBLE_ED25519 names no @noble/ed25519');
    const noble = await import(pathToFileURL(NOBLE).href);
    noble.hashes.sha512 = (data) => new Uint8Array(createHash('sha512').update(data).digest());
    const verify = (algorithm, spki, signature, message) =>
      noble.verify(signature, message, spki.subarray(-32), { zip215: false });
    const world = new World();
    world.publish('1.4.2');
    without(undefined);
    const updater = world.updater({ verify });
    await updater.download();
    await updater.apply();
    await updater.confirm();
    assert.equal((await updater.status()).running.version, '1.4.2');
    world.publishWith({ by: new Key() }, '1.5.0');
    await assert.rejects(updater.check(), { code: 'signature' });
  });

  it('a verifier is believed only when it says yes or no', async () => {
    const world = new World();
    world.publish('1.4.2');
    const answers = [];
    const verify = (algorithm) => void answers.push(algorithm);
    assert.equal((await world.updater({ verify }).check()).action, 'install');
    assert.equal(answers[0], 'ed25519');
    world.publish('1.4.2');
    const never = world.updater({ verify: async () => false });
    await assert.rejects(never.check(), { code: 'signature' });
  });
});
