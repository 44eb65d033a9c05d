/**
 * The JavaScript client behind the conformance protocol: `node tests/conformance/client_javascript.mjs`.
 *
 * Requests and responses are described in this folder's README; each function answers one `op`.
 * With `--noble FILE` signatures of Ed25519 are left to @noble/ed25519 at that path.
 */

import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import * as bundle from '../../manifestgen/client/bundle.js';
import * as client from '../../manifestgen/client/manifestgen.js';

const { LIMITS, Reader, VerificationError, fromBase64 } = client;

const OPERATIONS = {
  canonical: ({ data, limit = LIMITS.manifest }) => {
    client.decode(fromBase64(data), limit);
    return {};
  },
  key: ({ spki }) => {
    const { algorithm, keyid } = client.readKey(fromBase64(spki));
    return { algorithm, keyid };
  },
  signature: async ({ spki, sig, message }) => {
    const key = client.readKey(fromBase64(spki));
    return { valid: await client.verifies(key, fromBase64(sig), fromBase64(message), verify) };
  },
  trust: async ({ root }) => ({ number: (await trust(root)).root.number }),
  walk,
  manifest: async (given) => {
    const { seen, releases } = (await accept(given)).trusted;
    const said = releases.map((one) => (one instanceof Error ? one.code : one.version));
    return { ...seen, issued: time(seen.issued), releases: said };
  },
  release: async ({ root, release }) => {
    const envelope = client.readDocument(fromBase64(release), LIMITS.release);
    return { version: (await client.verifyRelease(await trust(root), envelope)).version };
  },
  decide: async (given) => {
    const { trusted, seen } = await accept(given);
    const now = client.clock(Date.parse(given.now), seen);
    return decided(client.decide(trusted, given.device, given.memory, now));
  },
  share: ({ rollout, now }) => ({
    share: client.shareAt(client.readRollout(rollout), Date.parse(now)),
  }),
  position: ({ salt, id }) => ({ position: client.position(salt, id) }),
  version: ({ a, b }) => {
    for (const text of [a, b]) refuseUnless(client.isVersion(text));
    return { order: Math.sign(client.compareVersions(a, b)) };
  },
  native: ({ text }) => ({ version: client.nativeVersion(text) }),
  range: ({ range, native }) => {
    refuseUnless(client.isRange(range));
    const version = client.nativeVersion(native);
    return { admits: version !== null && client.admits(range, version) };
  },
  paths: ({ paths }) => {
    bundle.checkPaths(paths);
    return {};
  },
  tree: async ({ files }) => {
    const read = files.map(readFile);
    const size = read.reduce((sum, file) => sum + file.size, 0);
    return { digest: await bundle.treeDigest(read), files: read.length, size };
  },
  patch: async ({ base, patch, target, limit }) => {
    const given = new Map(base.map(({ path, data }) => [path, fromBase64(data)]));
    const files = async () => Promise.all([...given].map(described));
    const read = async (path) => given.get(path);
    const [from, to] = [{ files, read }, { digest: target, size: limit }];
    const made = await bundle.applyPatch(fromBase64(patch), from, to, async () => {});
    const digest = await bundle.treeDigest(made);
    if (digest !== target) throw new VerificationError('tree', 'another tree');
    return { digest, files: made.length, size: made.reduce((sum, file) => sum + file.size, 0) };
  },
  payload_key: ({ key, iv, kind, base }) =>
    contentKey(bundle.payloadKey({ key: fromBase64(key), iv: fromBase64(iv) }, kind, base)),
  decrypt: async ({ data, key, iv }) => {
    const content = { key: fromBase64(key), iv: fromBase64(iv) };
    return { data: base64(await bundle.decrypt(fromBase64(data), content)) };
  },
  unwrap: ({ public: pem, capgo, plain }) => {
    const [key, wrapped] = [bundle.parseCapgoKey(pem), client.readWrapped(new Reader(capgo, '$'))];
    bundle.checkWrapped(key, wrapped, plain);
    const encoding = wrapped.form === 'v2' ? 'base64' : 'hex';
    return {
      ...contentKey(bundle.unwrap(key, wrapped)),
      session_key: `${base64(wrapped.iv)}:${base64(wrapped.session_key)}`,
      checksum: Buffer.from(wrapped.checksum).toString(encoding),
    };
  },
};

/** Follow roots until one is refused, then judge the kept manifest by the newest root. */
async function walk({ root, roots, kept, channel }) {
  let [keys, stopped] = [await trust(root), null];
  for (const data of roots) {
    try {
      keys = await client.verifyRoot(fromBase64(data), { previous: keys });
    } catch (error) {
      stopped = codeOf(error);
      break;
    }
  }
  const result = { number: keys.root.number, stopped };
  if (kept === undefined) return result;
  return { ...result, keeps: (await client.remembered(keys, fromBase64(kept), channel)) !== null };
}

async function accept({ root, manifest, channel, now, seen, running_issued }) {
  const [keys, moment] = [await trust(root), Date.parse(now)];
  client.checkRootFresh(keys, moment);
  const trusted = await client.verifyManifest(keys, fromBase64(manifest), channel);
  const known = seen ? { ...seen, issued: Date.parse(seen.issued) } : null;
  const runningIssued = running_issued ? Date.parse(running_issued) : undefined;
  const rootIssued = keys.root.issued;
  client.checkFresh(trusted, { seen: known, now: moment, rootIssued, runningIssued });
  return { trusted, seen: known };
}

function decided(decision) {
  const { action, reason, release, patch, mandatory, verdicts } = decision;
  if (action === 'nothing') return { decision: action, reason, verdicts };
  if (action === 'reset') return { decision: action, verdicts };
  const blob = patch ? patch.blob : null;
  return { decision: action, version: release.version, patch: blob, mandatory, verdicts };
}

function readFile(file) {
  const read = new Reader(file, '$');
  const path = read.text('path', (text) => client.utf8(text).length <= LIMITS.path);
  return { path, sha256: read.digest('sha256'), size: read.integer('size', 0, LIMITS.bundle) };
}

async function described([path, data]) {
  return { path, sha256: await client.digest(data), size: data.length };
}

function trust(root) {
  return client.verifyRoot(fromBase64(root), { verify });
}

function refuseUnless(fine) {
  if (!fine) throw new VerificationError('format', 'refused');
}

function contentKey({ key, iv }) {
  return { key: base64(key), iv: base64(iv) };
}

function time(moment) {
  return new Date(moment).toISOString().replace('.000', '');
}

function base64(data) {
  return Buffer.from(data).toString('base64');
}

/** Return the code of a refusal; anything else is for the runner to see as a crash. */
function codeOf(error) {
  if (!(error instanceof VerificationError)) throw error;
  return error.code;
}

async function answer({ op, input }) {
  const operation = Object.hasOwn(OPERATIONS, op) && OPERATIONS[op];
  if (!operation) return { unsupported: true };
  try {
    return { ok: await operation(input) };
  } catch (error) {
    return { error: codeOf(error) };
  }
}

async function injected(path) {
  const noble = await import(pathToFileURL(path).href);
  return (algorithm, spki, signature, message) =>
    algorithm === 'ed25519'
      ? noble.verifyAsync(signature, message, spki.subarray(-32), { zip215: false })
      : undefined;
}

const verify = process.argv[2] === '--noble' ? await injected(process.argv[3]) : undefined;
// JSON lines are ASCII, so that lone surrogates arrive as they were.
const ascii = (text) =>
  text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${ascii(JSON.stringify(await answer(JSON.parse(line))))}\n`);
}
