/**
 * The service worker: serves the release that runs to the pages of its scope, switches to the next
 * one when a page starts, and leaves a release that is not confirmed.
 *
 * It needs no other file and runs as a classic worker, so that every browser takes it. What is in
 * the caches was verified by the page that put it there (`browser.js`); here nothing is checked, and
 * nothing is decided but which release a page starts with. A page keeps that release until it is
 * loaded again, whatever other tabs do.
 *
 * The caches, where SCOPE is the path the worker is registered for:
 *
 *     manifestgen SCOPE            one entry, what this worker remembers
 *     manifestgen SCOPE TREE       the files of one release
 *     manifestgen SCOPE builtin    the app as the server has it, as far as it was seen, for offline
 */

/**
 * What is remembered. Trees are digests, `null` is the app as the server has it. `next` is missing
 * where nothing is to be switched to; `trial` is there until `running` is confirmed; `pages` says
 * which tree each page started with, by client id.
 * @typedef {object} Memory
 * @property {string | null} running
 * @property {string | null} previous
 * @property {string | null} [next]
 * @property {{ since: number, starts: number, pages: string[] }} [trial]
 * @property {string[]} failed
 * @property {{ [id: string]: string | null }} pages
 */

/** @typedef {{ waitUntil: (work: Promise<unknown>) => void }} Extendable */
/** @typedef {Extendable & { request: Request, clientId: string, resultingClientId: string, respondWith: (answer: Promise<Response>) => void }} Fetching */
/** @typedef {Extendable & { data: any, source: { id: string } | null, ports: MessagePort[] }} Asking */
/**
 * @typedef {object} WorkerScope
 * @property {{ scope: string }} registration
 * @property {{ claim: () => Promise<void>, matchAll: (options: object) => Promise<{ id: string }[]> }} clients
 * @property {() => Promise<void>} skipWaiting
 * @property {(type: string, listener: (event: any) => void) => void} addEventListener
 */

const worker = /** @type {WorkerScope} */ (/** @type {unknown} */ (self));
const scope = new URL(worker.registration.scope);
const prefix = `manifestgen ${scope.pathname}`;
const builtinCache = `${prefix} builtin`;
const memoryKey = `${scope.href}?manifestgen=memory`;

// A release that is not confirmed has failed once all its pages are gone, this many milliseconds
// have passed, or it was started so often: until then another tab may just be opening.
const TRIAL = 10_000;
const TRIAL_STARTS = 2;
const MOST_FAILED = 20;
const MOST_PAGES = 100;

worker.addEventListener('install', (/** @type {Extendable} */ event) => {
  event.waitUntil(worker.skipWaiting()); // pages keep their release under any worker
});

worker.addEventListener('activate', (/** @type {Extendable} */ event) => {
  event.waitUntil(worker.clients.claim());
});

worker.addEventListener('fetch', (/** @type {Fetching} */ event) => {
  const { method, url, mode, destination } = event.request;
  if (method !== 'GET' || !url.startsWith(scope.href)) return;
  const starts = mode === 'navigate' && destination === 'document';
  event.respondWith(starts ? startPage(event) : servePart(event));
});

worker.addEventListener('message', (/** @type {Asking} */ event) => {
  const { data, ports, source } = event;
  if (!data || typeof data.manifestgen !== 'string' || !ports[0]) return;
  const done = alone(() => answerPage(data.manifestgen, data.value, source ? source.id : '')).then(
    (ok) => ports[0].postMessage({ ok }),
    (error) => ports[0].postMessage({ error: String(error && error.message) }),
  );
  event.waitUntil(done);
});

// --- serving ----------------------------------------------------------------------------------

/** @param {Fetching} event */
async function startPage(event) {
  const tree = await alone(() => choose(event.resultingClientId));
  const path = pathOf(event.request.url);
  if (tree === null || path === null) return fromServer(event, tree);
  // Without a dot it is a place inside the app, which knows how to show it.
  const inside = /(^|\/)[^/.]*$/.test(path);
  return (
    (await fromTree(tree, path)) ||
    (inside && (await fromTree(tree, 'index.html'))) ||
    fromServer(event, tree)
  );
}

/** @param {Fetching} event */
async function servePart(event) {
  const { pages } = await remembered();
  const tree = pages[event.clientId] || null;
  // A frame or a worker goes on with its page's release.
  if (event.resultingClientId) await alone(() => note(event.resultingClientId, tree));
  const path = pathOf(event.request.url);
  const found = tree !== null && path !== null && (await fromTree(tree, path));
  return found || fromServer(event, tree);
}

/** @param {string} tree  @param {string} path */
function fromTree(tree, path) {
  return caches.match(keyOf(path), { cacheName: `${prefix} ${tree}` });
}

/**
 * Ask the server; offline, answer with what it last said if the app as it has it runs.
 *
 * @param {Fetching} event
 * @param {string | null} tree
 */
async function fromServer(event, tree) {
  const { request } = event;
  if (tree !== null || !request.destination) return fetch(request); // data is the app's own business
  try {
    const answer = await fetch(request);
    if (answer.ok && answer.type === 'basic') {
      const copy = answer.clone();
      event.waitUntil(caches.open(builtinCache).then((cache) => cache.put(request, copy)));
    }
    return answer;
  } catch (error) {
    const kept = await caches.match(request, { cacheName: builtinCache });
    if (kept) return kept;
    throw error;
  }
}

/** Return the path within a tree that an address means. @param {string} url */
function pathOf(url) {
  const path = new URL(url).pathname.slice(scope.pathname.length);
  try {
    return decodeURIComponent(path === '' || path.endsWith('/') ? `${path}index.html` : path);
  } catch (error) {
    return null;
  }
}

/** As in `browser.js`. @param {string} path */
function keyOf(path) {
  return scope.href + path.split('/').map(encodeURIComponent).join('/');
}

// --- which release a page starts with ---------------------------------------------------------

/** @param {string} id  @returns {Promise<string | null>} */
async function choose(id) {
  const open = await openPages();
  let memory = await withoutMissing(await remembered());
  if (memory.trial && hasFailed(memory.trial, open)) memory = rolledBack(memory);
  memory = switched(memory);
  if (memory.trial) {
    const { since, starts, pages } = memory.trial;
    memory = { ...memory, trial: { since, starts: starts + 1, pages: [...pages, id] } };
  }
  await remember({ ...memory, pages: noted(memory.pages, id, memory.running) });
  return memory.running;
}

/** @param {NonNullable<Memory['trial']>} trial  @param {string[]} open */
function hasFailed({ since, starts, pages }, open) {
  const age = Date.now() - since;
  const late = age < 0 || age >= TRIAL; // a clock that was set back proves nothing
  return late || starts >= TRIAL_STARTS || !pages.some((page) => open.includes(page));
}

/** @param {Memory} memory  @returns {Memory} */
function rolledBack({ trial, running, previous, failed, ...rest }) {
  const others = failed.filter((tree) => tree !== running);
  const left = running === null ? failed : [...others, running].slice(-MOST_FAILED);
  return { ...rest, running: previous, previous: null, failed: left };
}

/** @param {Memory} memory  @returns {Memory} */
function switched({ next, ...memory }) {
  if (next === undefined || next === memory.running) return memory;
  const { trial, running, ...rest } = memory;
  if (next === null) return { ...rest, running: null, previous: null };
  // What was never confirmed is nothing to come back to.
  const previous = trial ? memory.previous : running;
  return { ...rest, running: next, previous, trial: { since: Date.now(), starts: 0, pages: [] } };
}

/** Forget releases whose files the browser has thrown away. @param {Memory} memory */
async function withoutMissing({ next, ...memory }) {
  const { running, previous, trial, ...rest } = memory;
  const kept = { ...memory, previous: (await isWhole(previous)) ? previous : null };
  const found = (await isWhole(running))
    ? kept
    : { ...rest, running: kept.previous, previous: null };
  return next !== undefined && (await isWhole(next)) ? { ...found, next } : found;
}

/** @param {string | null} tree */
async function isWhole(tree) {
  if (tree === null) return true;
  const key = `${scope.href}?manifestgen=whole`; // put there last
  return Boolean(await caches.match(key, { cacheName: `${prefix} ${tree}` }));
}

// --- what pages ask ---------------------------------------------------------------------------

/** @param {string} what  @param {any} value  @param {string} id */
async function answerPage(what, value, id) {
  const memory = await remembered();
  if (what === 'status') {
    const { running, failed, pages } = memory;
    return { running, failed, page: pages[id] || null };
  }
  if (what === 'switch') return remember(told(memory, value));
  if (what === 'confirm') return confirmed(memory, id);
  if (what === 'keep') return keepOnly(memory, value);
  throw new Error(`${what} is unknown to this worker; the server has another version of it`);
}

/** @param {Memory} memory  @param {string | null} tree */
function told({ next, ...memory }, tree) {
  const failed = memory.failed.filter((one) => one !== tree);
  return tree === memory.running ? { ...memory, failed } : { ...memory, failed, next: tree };
}

/** @param {Memory} memory  @param {string} id */
async function confirmed({ trial, ...memory }, id) {
  if (!trial) return;
  if ((memory.pages[id] || null) !== memory.running)
    throw new Error('this page runs another release');
  await remember(memory);
  // From now on one goes back to a release, not to what the server had.
  await caches.delete(builtinCache);
}

/** @param {Memory} memory  @param {string[]} trees */
async function keepOnly({ running, previous, next, pages }, trees) {
  const open = await openPages();
  const used = [...trees, running, previous, next, ...open.map((id) => pages[id])];
  for (const name of await caches.keys()) {
    const tree = name.slice(prefix.length + 1);
    if (name === `${prefix} ${tree}` && /^[0-9a-f]{64}$/.test(tree) && !used.includes(tree)) {
      await caches.delete(name);
    }
  }
}

// --- memory -----------------------------------------------------------------------------------

/** @type {Memory | undefined} */
let held;
/** @type {Promise<unknown>} */
let turn = Promise.resolve();

/**
 * Run after all others: nobody else writes.
 *
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
function alone(work) {
  const done = turn.then(work);
  turn = done.catch(() => {});
  return done;
}

/** @returns {Promise<Memory>} */
async function remembered() {
  if (held) return held;
  const kept = await caches.match(memoryKey, { cacheName: prefix });
  const fresh = { running: null, previous: null, failed: [], pages: {} };
  const found = kept ? { ...fresh, ...(await kept.json().catch(() => ({}))) } : fresh;
  return (held = found);
}

/** @param {Memory} memory */
async function remember(memory) {
  const cache = await caches.open(prefix);
  await cache.put(memoryKey, new Response(JSON.stringify(memory)));
  held = memory;
}

/** @param {string} id  @param {string | null} tree */
async function note(id, tree) {
  const memory = await remembered();
  await remember({ ...memory, pages: noted(memory.pages, id, tree) });
}

/** @param {Memory['pages']} pages  @param {string} id  @param {string | null} tree */
function noted(pages, id, tree) {
  // Not only open ones: a page may come back from where the back button finds it.
  return Object.fromEntries([...Object.entries(pages), [id, tree]].slice(-MOST_PAGES));
}

async function openPages() {
  const found = await worker.clients.matchAll({ type: 'all', includeUncontrolled: true });
  return found.map(({ id }) => id);
}
