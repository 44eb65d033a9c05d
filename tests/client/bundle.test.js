// What `client/bundle.js` refuses and makes: the shared vectors, and the archives that
// `test_adapters.py` writes into the file HOSTILE with the answer of the Python reader to each.

import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as bundle from '../../manifestgen/client/bundle.js';
import { UpdateError, VerificationError, digest } from '../../manifestgen/client/manifestgen.js';
import { inflate as zlibInflate } from '../../manifestgen/client/node.js';

const VECTORS = new URL('../vectors/', import.meta.url);
const base64 = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const text = (bytes) => Buffer.from(bytes).toString('base64');

/** The values of a release as the client's own reader gives them. */
function decoded(capgo) {
  const { iv, session_key, checksum } = capgo;
  return { ...capgo, iv: base64(iv), session_key: base64(session_key), checksum: base64(checksum) };
}

function vectors(family, ...ops) {
  const file = JSON.parse(readFileSync(fileURLToPath(new URL(`${family}.json`, VECTORS)), 'utf8'));
  return file.vectors.filter((vector) => ops.includes(vector.op));
}

async function answer(act) {
  try {
    return { ok: await act() };
  } catch (error) {
    return { error: error.code ?? `${error.stack}` };
  }
}

// What each operation of the vectors means here. Reading documents is not this module's business,
// so it never says `format`.
const OPS = {
  paths: ({ paths }) => (bundle.checkPaths(paths), {}),
  tree: async ({ files }) => ({
    digest: await bundle.treeDigest(files),
    files: files.length,
    size: files.reduce((sum, file) => sum + file.size, 0),
  }),
  bundle_key: async ({ secret, scheme, app, packer, tree }) => {
    const info = { app, kind: 'bundle', packer, scheme, tree };
    const { key, iv } = await bundle.deriveKey(base64(secret), info);
    return { key: text(key), iv: text(iv) };
  },
  payload_key: async (input) => {
    const content = { key: base64(input.key), iv: base64(input.iv) };
    const { key, iv } = await bundle.payloadKey(content, input.kind, input.base);
    return { key: text(key), iv: text(iv) };
  },
  decrypt: async ({ data, key, iv }) => ({
    data: text(await bundle.decrypt(base64(data), { key: base64(key), iv: base64(iv) })),
  }),
  unwrap: ({ public: pem, capgo, plain }) => {
    const [parsed, wrapped] = [bundle.parseCapgoKey(pem), decoded(capgo)];
    bundle.checkWrapped(parsed, wrapped, plain);
    const { key, iv } = bundle.unwrap(parsed, wrapped);
    return { key: text(key), iv: text(iv) };
  },
};

for (const [family, ops] of Object.entries({
  trees: ['paths', 'tree'],
  cipher: ['bundle_key', 'payload_key', 'decrypt', 'unwrap'],
})) {
  for (const { name, op, input, want } of vectors(family, ...ops)) {
    if (want.error === 'format') continue;
    test(`${family}: ${name}`, async () => {
      const got = await answer(() => OPS[op](input));
      if (want.error) return assert.equal(got.error, want.error);
      // Spellings for the plugin are other modules'.
      for (const [member, value] of Object.entries(got.ok ?? assert.fail(got.error))) {
        assert.deepEqual(value, want.ok[member], member);
      }
    });
  }
}

// --- archives ----------------------------------------------------------------------------------

async function tree(archive, limit, primitives) {
  const files = [];
  for (const entry of bundle.readMembers(archive, limit)) {
    const data = await bundle.inflate(archive, entry, primitives);
    files.push({ path: entry.path, sha256: await digest(data), size: data.length });
  }
  return bundle.treeDigest(files);
}

const INFLATERS = { DecompressionStream: {}, zlib: { inflate: zlibInflate } };
const hostile = process.env.HOSTILE ? JSON.parse(readFileSync(process.env.HOSTILE, 'utf8')) : [];

for (const [inflater, primitives] of Object.entries(INFLATERS)) {
  for (const { name, archive, limit, want } of hostile) {
    test(`archive, ${inflater}: ${name}`, async () => {
      assert.deepEqual(await answer(() => tree(base64(archive), limit, primitives)), want);
    });
  }
}

// --- patches -----------------------------------------------------------------------------------

/** Apply the patch of a vector; what is not the target is the caller's to refuse. */
async function patched({ base, patch, target, limit }, primitives, read) {
  const given = new Map(base.map(({ path, data }) => [path, base64(data)]));
  const described = async ([path, data]) => ({
    ...{ path, sha256: await digest(data), size: data.length },
  });
  const from = {
    files: () => Promise.all([...given].reverse().map(described)), // in any order
    read: async (path) => (read ? read(given.get(path)) : given.get(path)),
  };
  const written = {};
  const write = async (path, data) => (written[path] = await digest(data));
  const wanted = { digest: target, size: limit };
  const files = await bundle.applyPatch(base64(patch), from, wanted, write, primitives);
  assert.deepEqual(written, Object.fromEntries(files.map(({ path, sha256 }) => [path, sha256])));
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const made = { digest: await bundle.treeDigest(files), files: files.length, size };
  if (made.digest !== target) throw new VerificationError('tree', 'another tree');
  return made;
}

for (const [inflater, primitives] of Object.entries(INFLATERS)) {
  for (const { name, input, want } of vectors('patches', 'patch')) {
    test(`patch, ${inflater}: ${name}`, async () => {
      assert.deepEqual(await answer(() => patched(input, primitives)), want);
    });
  }
}

test('a base that is altered while it is read makes another tree, or none', async () => {
  const [{ input }] = vectors('patches', 'patch');
  for (const read of [(data) => data.slice(1), (data) => data.map((byte) => byte ^ 1)]) {
    assert.match((await answer(() => patched(input, {}, read))).error, /^(?:patch|tree)$/);
  }
});

// --- getting a release --------------------------------------------------------------------------

const release = process.env.RELEASE ? JSON.parse(readFileSync(process.env.RELEASE, 'utf8')) : null;

function sink() {
  const files = {};
  let starts = 0;
  return {
    files,
    get starts() {
      return starts;
    },
    start: async () => {
      starts++;
      for (const path of Object.keys(files)) delete files[path];
    },
    write: async (path, data) => {
      files[path] = text(data);
    },
  };
}

if (release) {
  const signed = { ...release.signed, capgo: decoded(release.signed.capgo) };
  const stored = base64(release.blob);
  const plan = (changes = {}, data = stored) => ({
    release: { ...signed, ...changes },
    fetch: async () => data,
  });
  const withBundle = (members) => plan({ bundle: { ...signed.bundle, ...members } });
  const withTree = (members) => plan({ tree: { ...signed.tree, ...members } });
  const tools = { keys: [release.key] };

  test('a release is decrypted, unpacked and compared', async () => {
    const into = sink();
    const { via, bytes, files } = await bundle.obtain(plan(), into, tools);
    assert.deepEqual([via, bytes, files.length], ['bundle', stored.length, 2]);
    assert.deepEqual(into.files, release.files);
  });

  const REFUSED = {
    'another plain digest than signed': [withBundle({ plain: '0'.repeat(64) }), tools, 'digest'],
    'another plain size than signed': [withBundle({ plain_size: 1 }), tools, 'digest'],
    'another tree than signed': [withTree({ digest: '0'.repeat(64) }), tools, 'tree'],
    'a tree that is smaller than signed': [withTree({ size: 1 }), tools, 'archive'],
    'a flipped bit': [
      plan(
        {},
        stored.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
      ),
      tools,
      'digest',
    ],
    'half a block': [plan({}, stored.slice(0, -8)), tools, 'decrypt'],
    'no key': [plan(), {}, 'key'],
    'another key': [plan(), { keys: [release.otherKey] }, 'decrypt'],
    'a private key': [plan(), { keys: ['-----BEGIN RSA PRIVATE KEY-----'] }, 'key'],
    'an RSA-1024 key': [plan(), { keys: [release.smallKey] }, 'key'],
    'an EC key': [plan(), { keys: [release.ecKey] }, 'key'],
    'encrypted and not, at once': [plan({ scheme: 'none', capgo: null }), {}, 'digest'],
  };
  for (const [name, [given, opener, code]] of Object.entries(REFUSED)) {
    test(`refused: ${name}`, async () => {
      const got = await answer(() => bundle.obtain(given, sink(), opener));
      assert.deepEqual(got, { error: code });
    });
  }

  test('several keys: the one that fits opens', async () => {
    await bundle.obtain(plan(), sink(), { keys: [release.otherKey, release.key] });
  });

  test("what cannot be fetched is nobody's fault here", async () => {
    const fetch = async () => {
      throw new UpdateError('store', 'offline');
    };
    const got = await answer(() => bundle.obtain({ ...plan(), fetch }, sink(), tools));
    assert.deepEqual(got, { error: 'store' });
  });

  test('a way that fails gives way to the whole bundle, in an empty place', async () => {
    const into = sink();
    const way = {
      name: 'patch',
      payload: () => signed.bundle,
      key: (_, content) => content,
      build: async (_, __, { write }) => {
        await write('half.txt', new Uint8Array(3));
        throw new Error('does not apply');
      },
    };
    const { via } = await bundle.obtain(plan(), into, tools, [way, ...bundle.WAYS]);
    assert.equal(via, 'bundle');
    assert.equal(into.starts, 2);
    assert.deepEqual(into.files, release.files);
  });

  test('a way that makes other files gives way, too', async () => {
    const [whole] = bundle.WAYS.slice(-1);
    const way = { ...whole, name: 'patch', build: async () => [] };
    assert.equal((await bundle.obtain(plan(), sink(), tools, [way, whole])).via, 'bundle');
  });

  test('a way that does not apply is not tried', async () => {
    const [whole] = bundle.WAYS.slice(-1);
    const way = { ...whole, name: 'patch', payload: () => null };
    assert.equal((await bundle.obtain(plan(), sink(), tools, [way, whole])).via, 'bundle');
  });

  test('a patch is asked for where it is worth it, and the base is there', async () => {
    const running = { version: '1.0.0', tree: '0'.repeat(64), ref: 'old' };
    const small = { ...signed.bundle, blob: '1'.repeat(64), size: stored.length - 1, base: '0' };
    const base = () => ({ files: async () => [], read: async () => stored });
    const asked = async (changes, tools) => {
      const blobs = [];
      const fetch = async ({ blob }) => (blobs.push(blob), stored);
      await bundle.obtain({ ...plan(), ...changes, fetch }, sink(), tools);
      return blobs.map((blob) => (blob === small.blob ? 'patch' : 'bundle'));
    };
    const able = { ...tools, base };
    assert.deepEqual(await asked({ patch: small, running }, able), ['patch', 'bundle']);
    assert.deepEqual(await asked({ patch: small, running }, tools), ['bundle']);
    assert.deepEqual(await asked({ patch: small, running: null }, able), ['bundle']);
    const large = { ...small, size: stored.length };
    assert.deepEqual(await asked({ patch: large, running }, able), ['bundle']);
  });

  test('without crypto.subtle an injected decrypt does', async () => {
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
    Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true });
    try {
      const got = await answer(() => bundle.obtain(plan(), sink(), tools));
      assert.deepEqual(got, { error: 'no_crypto' });
      const decrypt = async (data, { key, iv }) => {
        const cipher = createDecipheriv('aes-128-cbc', key, iv);
        return new Uint8Array(Buffer.concat([cipher.update(data), cipher.final()]));
      };
      const into = sink();
      await bundle.obtain(plan(), into, { ...tools, primitives: { decrypt } });
      assert.deepEqual(into.files, release.files);
    } finally {
      Object.defineProperty(globalThis, 'crypto', descriptor);
    }
  });
}
