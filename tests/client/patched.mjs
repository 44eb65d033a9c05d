// Visit a site as an app with the Node adapter does: `node patched.mjs CLIENT FOLDER SITE`.
// CLIENT is what `manifestgen client` wrote; prints what came of it.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [client, folder, site] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(client, name)).href);
const [{ createUpdater }, { fileStorage, nodeAdapter }] = await Promise.all(
  ['manifestgen.js', 'node.js'].map(load),
);
const text = (name) => readFileSync(path.join(client, name), 'utf8');
const adapter = nodeAdapter({ folder, keys: [text('capgo.pub.pem')] });
const updater = createUpdater({
  ...{ site, root: text('root.json'), storage: fileStorage(folder), adapter },
});
const { via, bytes } = await updater.download();
const { version } = await updater.apply();
await updater.confirm();
console.log(JSON.stringify({ via, bytes, version, path: await adapter.path() }));
