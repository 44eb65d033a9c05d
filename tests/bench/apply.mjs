// Time what a client does with a patch that was downloaded: in memory, and until it is stored.

/**
 * `read` returns the bytes of a file that `apply.py` prepared; `adapter` holds the old release
 * first, then gets the new one. In milliseconds: `checked` makes and checks every file of the new
 * release out of contents in memory, `kept` reads them from where the adapter keeps them and stores.
 */
export async function measure({ client, tools, adapter, read, rounds }) {
  const { obtain, planOf } = client;
  const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const { key, old, fresh, patch, files } = await json('releases.json');
  const [bundle, blob] = [await read('bundle.bin'), await read('patch.bin')];
  const contents = new Map();
  for (const path of files) contents.set(path, await read(`old/${path}`));
  const base = () => ({
    files: () => Promise.all([...contents].map(([path, data]) => described(path, data))),
    read: async (path) => contents.get(path),
  });

  const staged = await adapter.stage(planOf(old, async () => bundle));
  const running = { ref: staged.ref, tree: old.tree.digest, version: old.version };
  const plan = { ...planOf(fresh, async () => blob), patch, running };
  const nowhere = { start: async () => {}, write: async () => {} };
  const times = [];
  for (let round = 0; round < rounds; round++) {
    times.push(await timed(() => obtain(plan, nowhere, { keys: [key], base, ...tools }), 'patch'));
  }
  const kept = await timed(() => adapter.stage(plan), 'patch');
  return { checked: times.sort((a, b) => a - b)[times.length >> 1], kept };
}

async function timed(act, via) {
  const start = performance.now();
  const done = await act();
  if (done.via !== via) throw new Error(`came by ${done.via}`);
  return performance.now() - start;
}

async function described(path, data) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
  const sha256 = Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { path, sha256, size: data.length };
}

/** In Node: `node apply.mjs FOLDER ROUNDS`, the folder holding what `apply.py` prepared. */
if (globalThis.process?.argv[1]?.endsWith('apply.mjs')) {
  const { readFileSync } = await import('node:fs');
  const [folder, rounds] = process.argv.slice(2);
  const { obtain } = await import(`${folder}/client/bundle.js`);
  const { inflate, nodeAdapter } = await import(`${folder}/client/node.js`);
  const { planOf } = await import(`${folder}/unpack.mjs`);
  const read = async (name) => Uint8Array.from(readFileSync(`${folder}/${name}`));
  const { key } = JSON.parse(readFileSync(`${folder}/releases.json`, 'utf8'));
  const adapter = nodeAdapter({ folder: `${folder}/home`, keys: [key] });
  const tools = { primitives: { inflate } };
  const client = { obtain, planOf };
  const times = await measure({ client, tools, adapter, read, rounds: Number(rounds) });
  console.log(JSON.stringify(times));
}
