// Time what an adapter does with a bundle that was downloaded: in memory, and until it is stored.

const text = (value) => Uint8Array.from(atob(value), (character) => character.charCodeAt(0));

/** Return the plan for a release as it was `signed`, whose blob `fetch` returns. */
export function planOf(signed, fetch) {
  const { iv, session_key, checksum, ...rest } = signed.capgo;
  const capgo = { ...rest, iv: text(iv), session_key: text(session_key), checksum: text(checksum) };
  return { release: { ...signed, capgo }, patch: null, running: null, fetch };
}

/** `stored` is the blob, `signed` the release's document, `adapter` keeps what it stages. */
export async function measure({ obtain, tools, adapter, signed, key, stored }) {
  const plan = planOf(signed, async () => stored);
  const nowhere = { start: async () => {}, write: async () => {} };
  const checked = await timed(() => obtain(plan, nowhere, { keys: [key], ...tools }));
  const kept = await timed(() => adapter.stage(plan));
  const slot = { ref: signed.tree.digest, tree: signed.tree.digest, version: signed.version };
  const looked = await timed(() => adapter.holds(slot));
  return { checked, kept, looked };
}

async function timed(act) {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

/** In Node: `node unpack.mjs CLIENT FOLDER`, the folder holding what `unpack.py` made. */
if (globalThis.process?.argv[1]?.endsWith('unpack.mjs')) {
  const { readFileSync } = await import('node:fs');
  const [client, folder] = process.argv.slice(2);
  const { obtain } = await import(`${client}/bundle.js`);
  const { inflate, nodeAdapter } = await import(`${client}/node.js`);
  const { signed, key } = JSON.parse(readFileSync(`${folder}/release.json`, 'utf8'));
  const stored = Uint8Array.from(readFileSync(`${folder}/blob.bin`));
  const adapter = nodeAdapter({ folder: `${folder}/home`, keys: [key] });
  const tools = { primitives: { inflate } };
  console.log(JSON.stringify(await measure({ obtain, tools, adapter, signed, key, stored })));
}
