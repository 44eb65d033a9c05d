/**
 * Browsers and installed web apps: each release a cache of its own, which `worker.js` serves.
 *
 * The page fetches, verifies and unpacks; the service worker serves what lies in the caches, switches
 * when a page is next loaded, and leaves a release that is not confirmed. Without a worker, in its
 * first load, or when told to go back, the app is what the server has.
 *
 * Caches and databases belong to the origin: every script of it may change them, also one that came
 * with a release. `docs/web.md` says what that means.
 */

import { obtain, treeDigest } from './bundle.js';
import { UpdateError, digest } from './core.js';

/** @typedef {import('./types.js').Adapter} Adapter */
/** @typedef {import('./types.js').Slot} Slot */
/** @typedef {import('./types.js').Storage} Storage */
/** @typedef {import('./bundle.js').Bytes} Bytes */
/** @typedef {import('./bundle.js').Primitives} Primitives */

/**
 * Hold releases in Cache Storage, for the pages below `scope`.
 *
 * @param {object} [options]
 * @param {string | URL} [options.worker] where `worker.js` is; its folder is the widest scope
 * @param {string | URL} [options.scope] by default the worker's folder
 * @param {readonly string[]} [options.keys] public Capgo keys in PEM
 * @param {Primitives} [options.primitives]
 * @param {Record<string, string>} [options.headers] sent with each file, as the server would
 * @returns {Adapter}
 */
export function browserAdapter({ worker = './worker.js', scope, keys, primitives, headers } = {}) {
  const script = new URL(worker, document.baseURI);
  const home = new URL(scope || './', scope ? document.baseURI : script);
  const prefix = `manifestgen ${home.pathname}`;
  /** @param {string} path */
  const key = (path) => home.href + path.split('/').map(encodeURIComponent).join('/');
  /** @type {Promise<ServiceWorker> | undefined} */
  let active;

  /** @param {string} what  @param {unknown} [value]  @returns {Promise<any>} */
  async function ask(what, value) {
    active = active || activeWorker(script, home);
    active.catch(() => (active = undefined));
    return answerOf(await active, { manifestgen: what, value });
  }

  /** @param {Slot} slot */
  const base = ({ ref }) => cacheBase(`${prefix} ${ref}`, key, home);
  /** @param {Slot} slot */
  const holds = async (slot) => {
    const files = await base(slot).files();
    return (await treeDigest(files).catch(() => null)) === slot.tree; // `null`: it is no tree
  };

  return {
    current: async () => (await ask('status')).running,
    holds,
    async stage(plan) {
      const { version, tree } = plan.release;
      const ref = tree.digest;
      if (await holds({ version, tree: ref, ref })) return { ref, via: 'kept', bytes: 0 };
      const into = cacheSink(`${prefix} ${ref}`, key, headers);
      const { via, bytes } = await obtain(plan, into, { keys, primitives, base });
      await into.finish(`${home.href}?manifestgen=whole`);
      return { ref, via, bytes };
    },
    switch: (slot) => ask('switch', slot && slot.ref),
    confirm: () => ask('confirm'),
    failed: async () => (await ask('status')).failed,
    keep: (slots) =>
      ask(
        'keep',
        slots.map(({ ref }) => ref),
      ),
    shown: async () => {
      const { running, page = running } = await ask('status'); // workers of old do not say
      return navigator.serviceWorker.controller ? page : running;
    },
    reload: async () => {
      // It would load past the worker again, and again.
      if (!navigator.serviceWorker.controller) throw new UpdateError('no_worker', BYPASSED);
      location.reload();
    },
    lock: (run) =>
      navigator.locks ? /** @type {Promise<any>} */ (navigator.locks.request(prefix, run)) : run(),
  };
}

/**
 * Remember in an IndexedDB of the origin; apps that share one need names of their own.
 *
 * @param {string} [name]
 * @returns {Storage}
 */
export function browserStorage(name = 'manifestgen') {
  /** @type {Promise<IDBDatabase> | undefined} */
  let opened;

  /**
   * @param {IDBTransactionMode} mode
   * @param {(values: IDBObjectStore) => IDBRequest} act
   */
  async function run(mode, act) {
    opened = opened || openDatabase(name);
    opened.catch(() => (opened = undefined));
    const transaction = (await opened).transaction('values', mode);
    const request = act(transaction.objectStore('values'));
    await new Promise((done, fail) => {
      transaction.oncomplete = done;
      transaction.onerror = transaction.onabort = () => fail(transaction.error);
    });
    return request.result;
  }

  return {
    get: async (key) => (await run('readonly', (values) => values.get(key))) ?? null,
    set: (key, value) => run('readwrite', (values) => values.put(value, key)),
    remove: (key) => run('readwrite', (values) => values.delete(key)),
  };
}

/** @param {string} name  @returns {Promise<IDBDatabase>} */
function openDatabase(name) {
  return new Promise((done, fail) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore('values');
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

const BYPASSED = 'this page was loaded past the service worker: load it again to see updates';

// --- the worker -------------------------------------------------------------------------------

/** @param {URL} script  @param {URL} scope */
async function activeWorker(script, scope) {
  const container = navigator.serviceWorker;
  if (!container) {
    throw new UpdateError(
      'no_worker',
      'service workers need https (or localhost) and a browser with them',
    );
  }
  const options = { scope: scope.href, updateViaCache: /** @type {const} */ ('none') };
  const registration = await container.register(script, options).catch(async (error) => {
    const known = await container.getRegistration(scope.href); // offline, for one
    if (known && known.active) return known;
    throw new UpdateError('no_worker', `${script} cannot be registered: ${error.message}`, error);
  });
  return registration.active || activated(registration);
}

/** @param {ServiceWorkerRegistration} registration  @returns {Promise<ServiceWorker>} */
function activated(registration) {
  const coming = /** @type {ServiceWorker} */ (registration.installing || registration.waiting);
  return new Promise((done, fail) => {
    const look = () => {
      if (coming.state === 'activated') done(coming);
      if (coming.state === 'redundant')
        fail(new UpdateError('no_worker', 'the worker did not start'));
    };
    coming.addEventListener('statechange', look);
    look();
  });
}

/** @param {ServiceWorker} worker  @param {unknown} question  @returns {Promise<unknown>} */
function answerOf(worker, question) {
  return new Promise((done, fail) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => {
      port1.close();
      if (data.error === undefined) done(data.ok);
      else fail(new UpdateError('worker', `the service worker refused: ${data.error}`));
    };
    worker.postMessage(question, [port2]);
  });
}

// --- caches -----------------------------------------------------------------------------------

/**
 * Write files into a cache; `finish` marks it whole.
 *
 * @param {string} name
 * @param {(path: string) => string} key
 * @param {Record<string, string>} [headers]
 */
function cacheSink(name, key, headers) {
  /** @type {Promise<Cache> | undefined} */
  let opened; // once: opening it for each file takes as long as writing the file
  /** @type {Set<Promise<void>>} */
  const writing = new Set();

  /** @param {string} url  @param {Response} answer */
  async function put(url, answer) {
    opened = opened || caches.open(name);
    await (await opened).put(url, answer).catch(full);
  }

  return {
    async start() {
      await Promise.allSettled(writing); // of an attempt that failed
      writing.clear();
      opened = undefined;
      await caches.delete(name);
    },
    /** @param {string} path  @param {Bytes} data */
    async write(path, data) {
      const type = { 'Content-Type': typeOf(path), 'X-Content-Type-Options': 'nosniff' };
      const one = put(key(path), new Response(data, { headers: { ...type, ...headers } }));
      writing.add(one);
      one.then(
        () => writing.delete(one),
        () => {}, // stays, for whoever waits next
      );
      if (writing.size >= AT_ONCE) await Promise.race(writing);
    },
    /** @param {string} mark */
    async finish(mark) {
      await Promise.all(writing);
      await put(mark, new Response());
    },
  };
}

const AT_ONCE = 4; // files being written: half the time of one after another; more gain nothing

/** @param {Error} error  @returns {never} */
function full(error) {
  const isFull = error.name === 'QuotaExceededError';
  throw new UpdateError(isFull ? 'full' : 'storage', `the cache: ${error.message}`, error);
}

/**
 * @param {string} name
 * @param {(path: string) => string} key
 * @param {URL} home
 * @returns {import('./bundle.js').Base}
 */
function cacheBase(name, key, home) {
  /** @type {Promise<Cache> | undefined} */
  let opened;
  /** @param {string} url */
  const content = async (url) => {
    opened = opened || caches.open(name);
    const found = await (await opened).match(url);
    return new Uint8Array(await (found || new Response()).arrayBuffer());
  };
  return {
    async files() {
      const files = [];
      const known = (await caches.has(name)) ? await (await caches.open(name)).keys() : [];
      for (const { url } of known) {
        if (new URL(url).search) continue; // the mark
        const data = await content(url);
        const path = decodeURIComponent(url.slice(home.href.length));
        files.push({ path, sha256: await digest(data), size: data.length });
      }
      return files;
    },
    read: (path) => content(key(path)),
  };
}

/** What servers call these; browsers insist for scripts, styles, fonts and WebAssembly. */
const TYPES = new Map(
  Object.entries({
    'text/html; charset=utf-8': 'html htm',
    'text/css; charset=utf-8': 'css',
    'text/javascript; charset=utf-8': 'js mjs cjs',
    'text/plain; charset=utf-8': 'txt md',
    'text/vtt; charset=utf-8': 'vtt',
    'application/json': 'json map',
    'application/manifest+json': 'webmanifest',
    'application/wasm': 'wasm',
    'application/pdf': 'pdf',
    'application/xml': 'xml',
    'image/svg+xml': 'svg',
    'image/png': 'png',
    'image/jpeg': 'jpg jpeg',
    'image/gif': 'gif',
    'image/webp': 'webp',
    'image/avif': 'avif',
    'image/x-icon': 'ico',
    'font/woff2': 'woff2',
    'font/woff': 'woff',
    'font/ttf': 'ttf',
    'font/otf': 'otf',
    'audio/mpeg': 'mp3',
    'audio/ogg': 'ogg',
    'audio/wav': 'wav',
    'video/mp4': 'mp4',
    'video/webm': 'webm',
  }).flatMap(([type, endings]) => endings.split(' ').map((ending) => [ending, type])),
);

/** @param {string} path */
function typeOf(path) {
  const ending = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  return TYPES.get(ending) || 'application/octet-stream';
}
