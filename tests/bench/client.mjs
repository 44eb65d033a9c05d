/**
 * How long the JavaScript client takes to verify a manifest and to decide, in milliseconds.
 *
 * Reads `{"root", "manifest", "channel", "now", "rounds"}` (documents as text) from standard input and
 * writes `{"cold", "verify", "decide"}`: the first time, and the medians once warm.
 */

import { readFileSync } from 'node:fs';

import * as client from '../../manifestgen/client/manifestgen.js';

const given = JSON.parse(readFileSync(0, 'utf8'));
const [root, manifest] = [client.utf8(given.root), client.utf8(given.manifest)];
const now = Date.parse(given.now);
const device = { id: 'device-1', platform: 'ios', native: '3.1.0', builtin: '1.0.0' };

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

async function verify(keyring) {
  const trusted = await client.verifyManifest(keyring, manifest, given.channel);
  client.checkFresh(trusted, { seen: null, now, rootIssued: keyring.root.issued });
  return trusted;
}

const [cold] = await timed(async () =>
  client.decide(await verify(await client.verifyRoot(root)), device, {}, now),
);
const keyring = await client.verifyRoot(root);
const times = { verify: [], decide: [] };
for (let round = 0; round < given.rounds; round++) {
  const [verifying, trusted] = await timed(() => verify(keyring));
  const [deciding, decision] = await timed(() => client.decide(trusted, device, {}, now));
  if (decision.action !== 'install') throw new Error(`decided ${decision.reason}`);
  times.verify.push(verifying);
  times.decide.push(deciding);
}
console.log(JSON.stringify({ cold, verify: median(times.verify), decide: median(times.decide) }));
