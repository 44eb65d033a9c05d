// Signed sites that `test_adapters.py` writes into the file SITES, and a device to visit them.

import { readFileSync } from 'node:fs';

const given = process.env.SITES ? JSON.parse(readFileSync(process.env.SITES, 'utf8')) : null;

/** Without SITES (someone runs the file by hand) there is nothing to test. */
export const skip = given ? false : 'run by test_adapters.py';
export const { root, key, now, versions } = given || {};

export const site = 'https://updates.example/app/';

/** Answer as a web server with one of the sites would; `broken` changes or withholds blobs. */
export function server(name, broken = (data) => data) {
  const asked = [];
  const files = given.sites[name];
  const read = (url) => {
    const path = url.slice(site.length);
    const data = path in files ? new Uint8Array(Buffer.from(files[path], 'base64')) : null;
    return data && path.startsWith('blobs/') ? broken(data) : data;
  };
  const fetch = async (url) => {
    asked.push(url);
    const data = read(String(url));
    return data ? new Response(data) : new Response('not found', { status: 404 });
  };
  return { fetch, read, asked };
}

/** Flip a bit. */
export const flipped = (data) => data.map((byte, i) => (i === 40 ? byte ^ 1 : byte));

export function memoryStorage() {
  const values = new Map();
  return {
    values,
    get: async (name) => values.get(name) ?? null,
    set: async (name, value) => values.set(name, value),
    remove: async (name) => values.delete(name),
  };
}

/** Return the code of the error that `act` ends with. */
export async function code(act) {
  try {
    await act();
  } catch (error) {
    return error.code ?? error;
  }
  return null;
}
