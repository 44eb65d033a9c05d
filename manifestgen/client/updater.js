/**
 * Drive an update: ask the site, download, switch, go back; `core.js` has the rules.
 *
 * How bundles are unpacked and switched belongs to an `Adapter`, where things are remembered to a
 * `Storage`. State is saved after each root, after the manifest's checks, after staging, after the
 * switch and on confirmation, so whatever is cut short goes on.
 */

import {
  LIMITS,
  Reader,
  UpdateError,
  VerificationError,
  candidate,
  checkFresh,
  checkRootFresh,
  clock,
  compareVersions,
  decide,
  decode,
  digest,
  encode,
  fromUtf8,
  isChannel,
  isVersion,
  namedRoot,
  readDocument,
  readEnvelope,
  readRelease,
  remembered,
  utf8,
  verifyManifest,
  verifyRoot,
} from './core.js';

/**
 * @import {
 *   Bytes, Decision, Emit, Envelope, Fetch, Install, Json, Keyring, Look, Options, Outcome,
 *   Payload, Plan, Release, Slot, Staged, State, Status, Trusted, Verdict
 * } from './types.js'
 */

/* The network: one bounded GET. */

/** @typedef {(name: string) => string} Address */

/**
 * Fetch at most `most` bytes; `null` if there is nothing, `store` if it cannot be had.
 * @param {string} url
 * @param {{ fetch: Fetch, most: number, patience: number, cache?: RequestCache }} how
 * @param {(loaded: number) => void} [progress]
 * @returns {Promise<Bytes | null>}
 */
async function get(url, { fetch, most, patience, cache = 'no-cache' }, progress = () => {}) {
  const abort = new AbortController();
  let [loaded, before] = [0, 0];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let watch;
  const slow = new Promise((_, reject) => {
    watch = setInterval(() => {
      if (loaded - before < patience * 1.024) reject(new Error('slower than 1 KiB/s')); // both in 1/1000
      before = loaded;
    }, patience);
  });
  const body = async () => {
    const response = await fetch(url, { cache, signal: abort.signal });
    if (response.url && !samePlace(url, response.url)) throw new Error(`leads to ${response.url}`);
    if ([403, 404, 410].includes(response.status)) return null; // 403 is how buckets say 404
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    return read(response, most, (size) => progress((loaded = size)));
  };
  try {
    return /** @type {Bytes | null} */ (await Promise.race([body(), slow]));
  } catch (error) {
    throw new UpdateError('store', `${url}: ${/** @type {Error} */ (error).message}`, error);
  } finally {
    clearInterval(watch);
    abort.abort();
  }
}

/**
 * Return how things of a site are addressed.
 * @param {string} site  @param {string} [here]  @returns {Address}
 */
function addressed(site, here) {
  const [place, query] = site.split(/\?(.*)/s);
  const base = new URL(place.replace(/\/*$/, '/'), here).href;
  return (name) => base + name + (query ? `?${query}` : '');
}

/** Tell whether another copy of the site may do better. @param {unknown} error */
function isTheSites(error) {
  const { code } = /** @type {UpdateError} */ (error);
  return code === 'store' || error instanceof VerificationError;
}

/** @param {string} from  @param {string} to */
function samePlace(from, to) {
  const [a, b] = [new URL(from), new URL(to)];
  return (
    a.origin === b.origin ||
    (a.hostname === b.hostname && a.protocol + b.protocol === 'http:https:')
  );
}

/**
 * @param {Response} response  @param {number} most  @param {(loaded: number) => void} progress
 */
async function read(response, most, progress) {
  if (!response.body) return new Uint8Array(await response.arrayBuffer()).slice(0, most);
  const [reader, chunks] = [response.body.getReader(), /** @type {Uint8Array[]} */ ([])];
  let size = 0;
  while (size < most) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value.subarray(0, most - size));
    progress((size += chunks[chunks.length - 1].length));
  }
  const data = new Uint8Array(size);
  for (const chunk of chunks.reverse()) data.set(chunk, (size -= chunk.length));
  return data;
}

/* What is remembered. */

/** @type {State} */
const FRESH = {
  type: 'client.v1',
  channel: null,
  current: null,
  running: null,
  confirmed: true,
  tried: false,
  previous: null,
  staged: null,
  pending: false,
  failed: [],
  floor: null,
  checked: null,
  looked: null,
  channels: [],
};

/** Read a state; damage leaves a fresh one. @param {string | null} text  @returns {State} */
function readState(text) {
  try {
    const read = new Reader(decode(utf8(text || ''), 2 ** 20), '$');
    /** @param {unknown} value */
    const slot = (value, at = '$') => {
      if (value === null) return;
      const one = new Reader(value, at);
      one.text('version', isVersion);
      one.digest('tree');
      one.text('ref', /^/);
      if (one.has('channel')) one.text('channel', isChannel);
    };
    read.text('type', /^client\.v1$/);
    for (const name of ['running', 'previous', 'staged']) slot(read.get(name));
    for (const name of ['confirmed', 'tried', 'pending']) read.flag(name);
    for (const name of ['checked', 'looked']) {
      if (read.get(name) !== null) read.integer(name, -Number.MAX_SAFE_INTEGER);
    }
    if (read.get('channel') !== null) read.text('channel', isChannel);
    if (read.get('current') !== null) read.text('current', /^/);
    if (read.get('floor') !== null) readEnvelope(read.get('floor'), '$.floor');
    read.list('failed', MOST_FAILED, slot);
    read.texts('channels', MOST_FAILED, isChannel);
    return { ...FRESH, .../** @type {State} */ (read.value) };
  } catch (error) {
    return FRESH;
  }
}

const MOST_FAILED = 64; // the oldest is forgotten, or the state would grow for ever

/** @param {State} state  @returns {State} */
function switched(state) {
  const { staged, running } = state;
  const after = {
    ...state,
    channel: (staged && staged.channel) || state.channel,
    current: staged && staged.ref,
    running: staged,
    staged: null,
    pending: false,
  };
  // The same files under another version have nothing new to prove.
  if (staged && running && staged.tree === running.tree) return after;
  // What was never confirmed is nothing to come back to.
  const previous = state.confirmed ? running : state.previous;
  return { ...after, confirmed: false, tried: false, previous };
}

/** @param {State} state  @param {Slot | null} slot */
function failing(state, slot) {
  const others = state.failed.filter((one) => slot && one.tree !== slot.tree);
  return slot ? [...others, slot].slice(-MOST_FAILED) : state.failed;
}

/** @param {State} state  @returns {State} */
function rolledBack(state) {
  const { previous, running } = state;
  const current = previous && previous.ref;
  const failed = failing(state, running);
  return { ...without(state), current, running: previous, failed };
}

/** @param {State} state  @returns {State} */
function without(state) {
  const none = { current: null, running: null, previous: null, staged: null };
  return { ...state, ...none, confirmed: true, tried: false, pending: false };
}

const DAY = 24 * 3600 * 1000;
const NAMESPACE = 'manifestgen.';
const PATIENCE = 30_000;

/** One operation: trust and state move forward together, saved as they change. */
class Run {
  /**
   * @param {Options & { sites: Address[], fetch: Fetch, emit: Emit }} options
   * @param {number} now  @param {Keyring} keys
   */
  constructor(options, now, keys) {
    this.options = options;
    this.now = now;
    this.keys = keys;
    this.state = FRESH;
    this.channel = '';
    this.steps = LIMITS.rootSteps;
    this.address = options.sites[0];
    /** @type {Bytes | null} */
    this.accepted = null;
  }

  /**
   * Read what is remembered, and make it agree with what the platform says runs. The root is pinned
   * when something is first written.
   * @param {boolean} writing
   */
  async load(writing) {
    const { root, verify, adapter, channel } = this.options;
    const pinned = await this.recall('root', (text) => verifyRoot(utf8(text), { verify }));
    if (pinned && pinned.root.app !== this.keys.root.app) {
      throw new UpdateError('wrong_app', `the storage belongs to ${pinned.root.app}`);
    }
    if (pinned) this.keys = pinned;
    else if (writing) await this.store('root', typeof root === 'string' ? root : fromUtf8(root));
    const before = (this.state = readState(await this.recall('state', async (text) => text)));
    await this.reconcile(await adapter.current(), adapter.failed ? await adapter.failed() : []);
    if (writing && this.state !== before) await this.save({});
    this.channel = channel || this.state.channel || 'production';
    return this;
  }

  /** @param {string | null} current  @param {string[]} gone  what the platform left again */
  async reconcile(current, gone) {
    const { running, staged, previous, confirmed } = this.state;
    if (staged && staged.ref !== current && gone.includes(staged.ref)) {
      const failed = failing(this.state, staged);
      this.state = { ...this.state, failed, staged: null, pending: false };
    }
    if (current === this.state.current) return;
    const floor = await this.floored();
    const trial = confirmed ? null : running;
    const known = trial && current === (previous && previous.ref);
    if (this.state.staged && current === this.state.staged.ref) {
      this.state = { ...switched(this.state), floor }; // cut between the switch and its record
    } else if (trial && (known || gone.includes(trial.ref))) {
      const back = known ? previous : await this.described(current);
      this.state = { ...rolledBack({ ...this.state, previous: back }), current };
      this.options.emit('rolled_back', trial);
    } else {
      // Unknown, and nothing says that it failed.
      const described = await this.described(current);
      this.state = { ...without(this.state), current, running: described, floor };
    }
  }

  /** @param {string | null} ref  @returns {Promise<Slot | null>} */
  async described(ref) {
    const found = await this.release(ref);
    try {
      const { version, tree } = readRelease(/** @type {Envelope} */ (found).signed);
      return { version, tree: tree.digest, ref: /** @type {string} */ (ref) };
    } catch (error) {
      return null;
    }
  }

  /* Storage. What is damaged is as good as missing; what cannot be read at all is an error. */

  /** @template T  @param {string} key  @param {(text: string) => Promise<T>} parse */
  async recall(key, parse) {
    const text = await this.kept('get', key);
    try {
      return typeof text === 'string' ? await parse(text) : null;
    } catch (error) {
      if (error instanceof VerificationError) return null;
      throw error;
    }
  }

  /** @param {string} key  @param {string} value */
  store(key, value) {
    return this.kept('set', key, value);
  }

  /** @param {'get' | 'set' | 'remove'} method  @param {string} key */
  async kept(method, key, value = '') {
    try {
      return await this.options.storage[method](NAMESPACE + key, value);
    } catch (error) {
      throw new UpdateError('storage', `cannot ${method} ${key}`, error);
    }
  }

  /** Change the state, in storage first. @param {Partial<State>} changes */
  async save(changes) {
    const state = { ...this.state, ...changes };
    await this.store('state', encode(state));
    this.state = state;
  }

  /** @param {string | null} ref */
  async release(ref) {
    // It came inside a manifest, whose signer may have padded it with signatures of no worth.
    const read = async (/** @type {string} */ text) => readDocument(utf8(text), LIMITS.manifest);
    return ref === null ? null : this.recall(`release.${ref}`, read);
  }

  /* Trust. */

  /** @param {string} name  @param {number} limit */
  async document(name, limit) {
    const { fetch, patience = PATIENCE } = this.options;
    return get(this.address(name), { fetch, most: limit + 1, patience });
  }

  /**
   * Try each copy of the site, at first the one that was good before; what one fails at is told of
   * where another does it.
   * @template T
   * @param {() => Promise<T>} act
   */
  async somewhere(act) {
    const { sites, emit } = this.options;
    const failures = [];
    for (const address of new Set([this.address, ...sites])) {
      this.address = address;
      try {
        const done = await act();
        for (const error of failures) emit('error', error);
        return done;
      } catch (error) {
        if (!isTheSites(error)) throw error;
        failures.push(error);
      }
    }
    for (const error of failures.slice(1)) emit('error', error);
    throw failures[0];
  }

  /** Fetch the manifest and remember it, or throw and remember nothing of it. */
  async accept() {
    const { channel } = this;
    const looked = await this.look();
    const data = await this.document(`${channel}/manifest.json`, LIMITS.manifest);
    if (!data) throw new UpdateError('store', `the site has no manifest of the channel ${channel}`);
    if (namedRoot(data) > this.keys.root.number) await this.walk();
    const trusted = await this.judge(data);
    // Before any download: a blob withheld must not make room for an older manifest.
    await this.store(`manifest.${channel}`, fromUtf8(data));
    const channels = [...this.state.channels.filter((one) => one !== channel), channel].slice(
      -MOST_FAILED,
    );
    await this.save({ checked: this.now, looked, channels });
    this.accepted = data;
    this.options.emit('accepted', trusted.seen);
    return trusted;
  }

  /** Verify a manifest by all that is known now; the chain was walked. @param {Bytes} data */
  async judge(data) {
    checkRootFresh(this.keys, this.now);
    const trusted = await verifyManifest(this.keys, data, this.channel);
    const seen = await this.seen(this.channel);
    // Without a remembered manifest, what runs tells how late it must be.
    const running = seen ? null : await this.running();
    const runningIssued = running ? running.issued : undefined;
    const rootIssued = this.keys.root.issued;
    checkFresh(trusted, { seen, now: this.now, rootIssued, runningIssued });
    return trusted;
  }

  /** Look at `root.json` if that is due; return when it was last looked at. */
  async look() {
    const { looked } = this.state;
    if (looked !== null && this.now >= looked && this.now - looked < DAY) return looked;
    const found = await this.root('root.json');
    if (found && found.envelope.signed.number > this.keys.root.number) await this.walk();
    return this.now;
  }

  /** Follow the chain as far as it goes, and as far as one check may. */
  async walk() {
    for (; this.steps > 0; this.steps--) {
      const found = await this.root(`root/${this.keys.root.number + 1}.json`);
      if (!found) return;
      const keys = await verifyRoot(found.data, { previous: this.keys });
      await this.store('root', fromUtf8(found.data));
      this.keys = keys;
      await this.forget();
      this.options.emit('root', keys.root.number);
    }
  }

  /** Fetch a root; absent, too large and no envelope are all no news. @param {string} name */
  async root(name) {
    const data = await this.document(name, LIMITS.root);
    try {
      return data && { data, envelope: readDocument(data, LIMITS.root) };
    } catch (error) {
      return null;
    }
  }

  /** Forget what a new root does not stand behind. */
  async forget() {
    for (const channel of new Set([...this.state.channels, this.channel])) {
      if (!(await this.seen(channel))) await this.kept('remove', `manifest.${channel}`);
    }
    if (this.state.floor && !(await this.believed(this.state.floor)))
      await this.save({ floor: null });
  }

  /** Return what is remembered of a channel, as far as this root stands behind it. @param {string} channel */
  async seen(channel) {
    const data = await this.recall(`manifest.${channel}`, async (text) => utf8(text));
    return data && remembered(this.keys, data, channel);
  }

  /** Return a release that the root of today stands behind. @param {Json | null} json */
  async believed(json) {
    const release = json && (await candidate(this.keys, readEnvelope(json, '$')));
    return release instanceof Error ? null : release;
  }

  async running() {
    const found = this.state.running && (await this.release(this.state.running.ref));
    return found ? this.believed(found.json) : null;
  }

  /**
   * Return the release whose floor counts; what runs is `confirmed`, or about to be.
   * @param {boolean} confirmed
   */
  async highest(confirmed) {
    const { running, floor } = this.state;
    const found = confirmed && running ? await this.release(running.ref) : null;
    /** @type {{ floor: string, json: Json } | null} */
    let best = null;
    for (const json of [found && found.json, floor]) {
      const release = await this.believed(json);
      if (!json || !release || !release.floor) continue;
      if (!best || compareVersions(release.floor, best.floor) > 0)
        best = { floor: release.floor, json };
    }
    return best;
  }

  /**
   * Return the holder of the floor, to be kept before what runs is left: it may have been confirmed
   * without `confirm`, by the files it shares with the release before it, or because a damaged state
   * knew no better.
   */
  async floored(confirmed = this.state.confirmed) {
    const best = await this.highest(confirmed);
    return best && best.json;
  }

  /* Bundles. */

  /** @param {Trusted} trusted */
  async decide(trusted) {
    const { device = {}, adapter } = this.options;
    const { running, failed } = this.state;
    const highest = await this.highest(this.state.confirmed);
    const memory = {
      running,
      floor: highest && highest.floor,
      failed: failed.map((one) => one.tree),
      moved: this.state.channel !== null && this.state.channel !== this.channel,
    };
    const decision = decide(trusted, device, memory, clock(this.now, trusted.seen));
    if (decision.action !== 'nothing' || decision.reason !== 'current' || !running) return decision;
    if (await adapter.holds(running)) return decision;
    return repair(trusted, running, decision.verdicts) || decision;
  }

  /** Return a release that is here already. @param {string} tree */
  async held(tree) {
    for (const slot of [this.state.staged, this.state.running, this.state.previous]) {
      if (slot && slot.tree === tree && (await this.options.adapter.holds(slot))) return slot;
    }
    return null;
  }

  /** Fetch a release and remember it as staged. @param {Install} install */
  async stage({ release, envelope, patch, mandatory }) {
    const { adapter, emit } = this.options;
    const tree = release.tree.digest;
    const slot = await this.held(tree);
    /** @type {Plan} */
    const plan = {
      release,
      patch,
      running: this.state.running,
      mandatory,
      url: (blob) => this.address(`blobs/${blob.slice(0, 2)}/${blob}.bin`),
      fetch: (payload) => this.somewhere(() => this.blob(plan, payload)),
      progress: (loaded, total) => emit('progress', { loaded, total }),
    };
    /** @type {Staged} */
    const staged = slot ? { ref: slot.ref, via: 'kept', bytes: 0 } : await adapter.stage(plan);
    // First: the files of what runs may be the same, and so the place of its envelope.
    await this.save({ floor: await this.floored() });
    await this.store(`release.${staged.ref}`, encode(envelope.json));
    await this.save({
      staged: { version: release.version, tree, ref: staged.ref, mandatory, channel: this.channel },
      pending: false,
    });
    return staged;
  }

  /** @param {Plan} plan  @param {Payload} payload */
  async blob({ url, progress }, { blob, size }) {
    const { fetch, patience = PATIENCE } = this.options;
    const how = { fetch, patience, most: size, cache: /** @type {const} */ ('default') };
    const data = await get(url(blob), how, (loaded) => progress(loaded, size));
    if (!data || data.length < size) {
      throw new UpdateError(
        'store',
        `${url(blob)}: ${data ? `ends after ${data.length} bytes` : 'not there'}`,
      );
    }
    if ((await digest(data)) !== blob) {
      throw new VerificationError('digest', `blob ${blob} has other bytes than were signed`);
    }
    return data;
  }

  /** Run a slot; return whether it runs already. @param {Slot | null} slot */
  async switch(slot) {
    const { adapter } = this.options;
    await adapter.switch(slot);
    return (await adapter.current()) === (slot && slot.ref);
  }

  /** Give up what was staged; the platform may be about to switch to it. */
  async unstage() {
    const { pending, running, current } = this.state;
    if (pending && (running || current === null)) await this.options.adapter.switch(running);
    await this.drop({ staged: null, pending: false });
  }

  /** Save, and remove what nothing leads to any more. @param {Partial<State>} changes */
  async drop(changes) {
    const before = slots(this.state);
    await this.save(changes);
    const kept = slots(this.state);
    for (const { ref } of before) {
      if (!kept.some((one) => one.ref === ref)) await this.kept('remove', `release.${ref}`);
    }
    const { keep } = this.options.adapter;
    // What is left over is removed the next time.
    if (keep) await keep.call(this.options.adapter, kept).catch(() => {});
  }
}

/** @param {State} state */
function slots({ running, previous, staged }) {
  return /** @type {Slot[]} */ ([running, previous, staged].filter(Boolean));
}

/**
 * Return what mends the release that runs, if its files are not what they were.
 * @param {Trusted} trusted  @param {Slot} running  @param {Verdict[]} verdicts  @returns {Install | null}
 */
function repair({ manifest, releases }, running, verdicts) {
  const n = releases.findIndex(
    (one) => !(one instanceof Error) && one.tree.digest === running.tree,
  );
  if (n < 0) return null;
  const release = /** @type {Release} */ (releases[n]);
  return {
    action: 'install',
    release,
    envelope: manifest.offers[n].release,
    patch: null,
    mandatory: false,
    verdicts,
  };
}

/* The updater. */

/**
 * Make the updater of one app. Its methods run one after the other; each rejects with an
 * `UpdateError`, and then what runs keeps running.
 * @param {Options} options
 */
export function createUpdater(options) {
  const { site, root, channel, adapter, now = Date.now, patience = PATIENCE } = options;
  const { fetch = adapter.fetch || globalThis.fetch.bind(globalThis) } = options;
  if (channel !== undefined && !isChannel(channel)) {
    throw new UpdateError('usage', `${channel} is no channel name`);
  }
  const here = globalThis.location ? location.href : undefined;
  const sites = (typeof site === 'string' ? [site] : site).map((one) => addressed(one, here));
  if (!sites.length) throw new UpdateError('usage', 'no site is named');
  /** @type {Map<string, Set<(detail: any) => void>>} */
  const listeners = new Map();
  /** @type {Decision | null} */
  let decided = null;
  /** @type {{ url: string, data: Bytes, address: Address } | null} what the last check read */
  let read = null;
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();

  /** @type {Emit} */
  function emit(type, detail) {
    for (const listener of listeners.get(type) || []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(error); // not ours, and no reason to stop half way
      }
    }
  }

  /** @param {boolean} writing */
  async function load(writing) {
    const given = typeof root === 'string' ? utf8(root) : root;
    const keys = await verifyRoot(given, { verify: options.verify });
    return new Run({ ...options, sites, fetch, emit }, now(), keys).load(writing);
  }

  /**
   * @template T
   * @param {(run: Run) => Promise<T>} work
   * @returns {Promise<T>}
   */
  function exclusive(work) {
    const run = async () => work(await load(true));
    const done = last.then(() => (adapter.lock ? adapter.lock(run) : run()));
    last = done.catch((error) => emit('error', error));
    return done;
  }

  /** @param {Run} run */
  async function check(run) {
    decided = read = null;
    const trusted = await run.somewhere(() => run.accept());
    const { address } = run;
    const data = /** @type {Bytes} */ (run.accepted);
    read = { url: address(`${run.channel}/manifest.json`), data, address };
    const decision = await run.decide(trusted);
    const wanted = decision.action === 'install' && decision.release.tree.digest;
    if (run.state.staged && run.state.staged.tree !== wanted) await run.unstage();
    if (decision.action === 'nothing' && run.state.channel !== run.channel) {
      await run.save({ channel: run.channel });
    }
    return (decided = decision);
  }

  /**
   * Decide again on what the last check read: it may be long ago, and another tab may have gone on.
   * `null` if that counts no more.
   * @param {Run} run
   */
  async function standing(run) {
    if (!decided || !read) return null;
    try {
      return await run.decide(await run.judge(read.data));
    } catch (error) {
      if (error instanceof VerificationError) return null;
      throw error;
    }
  }

  /** @param {Run} run @returns {Promise<Outcome>} */
  async function apply(run) {
    const { staged } = run.state;
    const decision = decided && decided.action === 'reset' ? await standing(run) : null;
    if (decision && decision.action === 'reset') {
      decided = null;
      if (!(await run.switch(null))) return { ...NOTHING, action: 'pending' };
      const floor = await run.floored();
      await run.drop({ ...without(run.state), floor, channel: run.channel });
      return { ...NOTHING, action: 'reset' };
    }
    if (!staged) return NOTHING;
    const found = await run.release(staged.ref);
    const release = found && (await run.believed(found.json));
    if (!release || !(await adapter.holds(staged))) {
      await run.unstage();
      throw new UpdateError('store', `${staged.version} is no longer there to switch to`);
    }
    const outcome = { ...NOTHING, version: staged.version, notes: release.notes };
    await run.save({ pending: true }); // the switch may reload the page
    if (!(await run.switch(staged))) return { ...outcome, action: 'pending' };
    decided = null;
    await run.drop(switched(run.state));
    return { ...outcome, action: 'installed' };
  }

  /** @param {Run} run @returns {Promise<Slot | null>} */
  async function start(run) {
    const { running, previous, confirmed, tried } = run.state;
    if (confirmed || adapter.failed) return null;
    if (!tried) {
      await run.save({ tried: true });
      return null;
    }
    decided = null;
    const back = previous && (await adapter.holds(previous)) ? previous : null;
    if (back !== previous) await run.save({ previous: null });
    if (await run.switch(back)) await run.drop(rolledBack(run.state));
    emit('rolled_back', running);
    return running;
  }

  /** @returns {Promise<Look>} */
  async function look() {
    if (adapter.shown && (await adapter.shown()) !== (await adapter.current())) return 'stale';
    if (!read) return 'changed';
    const { url, data } = read;
    const found = await get(url, { fetch, most: LIMITS.manifest + 1, patience });
    return same(found, data) ? 'same' : 'changed';
  }

  return {
    /** Ask the site, and say what there is to do; roots and the manifest are remembered. */
    check: () => exclusive(async (run) => outcomeOf(await check(run))),

    /**
     * Make ready what the last check found; it asks the site itself if there was none, or if what that
     * found counts no more.
     */
    download: () =>
      exclusive(async (run) => {
        const decision = (await standing(run)) || (await check(run));
        if (decision.action !== 'install') return outcomeOf(decision);
        if (read) run.address = read.address;
        const { via, bytes } = await run.stage(decision);
        return { ...outcomeOf(decision), action: /** @type {const} */ ('staged'), via, bytes };
      }),

    /** Switch to what was downloaded, or back to the built-in app if the last check said so. */
    apply: () => exclusive(apply),

    /**
     * Say that the app starts. A release that is not confirmed by its second start has failed: it is
     * left, returned, and not tried again. Adapters with `failed` see to that themselves.
     */
    start: () => exclusive(start),

    /** Say that what runs works: it is kept, and its floor counts. */
    confirm: () =>
      exclusive(async (run) => {
        if (adapter.confirm) await adapter.confirm();
        if (run.state.confirmed) return;
        await run.drop({ confirmed: true, tried: false, floor: await run.floored(true) });
        emit('confirmed', run.state.running);
      }),

    /** Say what is known, without asking anybody or changing anything. */
    status: async () => statusOf(await load(false)),

    /**
     * Say whether there may be anything new, for no more than one small answer. Nothing is verified,
     * and nothing changed: to act on it, `check`.
     */
    look,

    /** Show what was switched to, where the platform can: then nothing of this page is left. */
    reload: async () => {
      if (adapter.reload) await adapter.reload();
    },

    /**
     * Listen to `progress`, `root`, `accepted`, `confirmed`, `rolled_back` or `error`; returns how to
     * stop. Report `error` with code `equivocation` to people.
     * @param {string} type @param {(detail: any) => void} listener
     */
    on(type, listener) {
      const all = listeners.get(type) || new Set();
      listeners.set(type, all.add(listener));
      return () => all.delete(listener);
    },
  };
}

/** @param {Bytes | null} a  @param {Bytes | null} b */
function same(a, b) {
  return !!a && !!b && a.length === b.length && a.every((byte, n) => byte === b[n]);
}

/** @type {Outcome} */
const NOTHING = {
  action: 'none',
  version: null,
  via: null,
  bytes: 0,
  mandatory: false,
  notes: '',
  reason: null,
  verdicts: [],
};

/** @param {Decision} decision @returns {Outcome} */
function outcomeOf(decision) {
  const { verdicts } = decision;
  if (decision.action === 'nothing') return { ...NOTHING, reason: decision.reason, verdicts };
  if (decision.action === 'reset') return { ...NOTHING, action: 'reset', verdicts };
  const { release, mandatory } = decision;
  const { version, notes, bundle } = release;
  return { ...NOTHING, action: 'install', version, notes, mandatory, bytes: bundle.size, verdicts };
}

/** @param {Run} run @returns {Promise<Status>} */
async function statusOf(run) {
  const { running, confirmed, previous, staged, failed, checked } = run.state;
  const { app, number, expires } = run.keys.root;
  const [seen, highest] = [await run.seen(run.channel), await run.highest(confirmed)];
  return {
    ...{ app, channel: run.channel, running, confirmed, previous, staged, failed, checked },
    floor: highest && highest.floor,
    sequence: seen && seen.sequence,
    expires: seen && seen.expires,
    root: number,
    rootExpires: expires,
  };
}
