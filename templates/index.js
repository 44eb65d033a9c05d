/*
 * The status page's own part, after the rules of the JavaScript client above: it reads the site,
 * beside the page or in a folder that was chosen, and shows each check. Text from the site only
 * ever becomes text.
 */
{
  const MOST_BLOB = 2 ** 29; // bytes that a browser is asked to hold at once
  const GAP = 64; // numbers that may lie unused between two manifests
  const PLATFORMS = ['android', 'ios'];

  const LINKED =
    'The fingerprint came with the address of this page: that is worth as much as whoever gave you the link.';

  const at = (id) => document.getElementById(id);
  const until = (moment) => new Date(moment).toISOString().slice(0, 16).replace('T', ' ') + ' UTC';
  const count = (number, what) =>
    `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;
  const grouped = (text) => text.replace(/(.{4})(?=.)/g, '$1 ');
  const blobName = (digest) => `blobs/${digest.slice(0, 2)}/${digest}.bin`;
  const historyName = (channel, sequence) =>
    `${channel}/history/${String(sequence).padStart(6, '0')}.json`;
  const same = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);

  function fail(message, code) {
    throw new VerificationError(code, message);
  }

  /* Where the files are: beside this page, or in a folder. */

  /** Read a stream up to one byte more than `limit`. */
  async function collect(stream, limit, told = () => {}) {
    const reader = stream.getReader();
    const parts = [];
    let size = 0;
    while (size <= limit) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      told(size);
    }
    if (size > limit) await reader.cancel();
    const data = new Uint8Array(size);
    parts.reduce((from, part) => (data.set(part, from), from + part.length), 0);
    return data;
  }

  const web = {
    channels: [],
    async read(name, limit, told) {
      const response = await fetch(new URL(name, location.href), { cache: 'no-store' }).catch(
        () => {
          throw new UpdateError('store', `${name} cannot be reached`);
        },
      );
      if (response.status === 404 || response.status === 403) return null;
      if (!response.ok)
        throw new UpdateError('store', `${name}: the server says ${response.status}`);
      return collect(response.body, limit, told);
    },
  };

  /** Take the site from a folder, or from the one inside it that has root.json. */
  function chosen(list) {
    const files = new Map([...list].map((file) => [file.webkitRelativePath, file]));
    const roots = [...files.keys()].filter((path) => /^[^/]+\/(?:[^/]+\/)*root\.json$/.test(path));
    const [found] = roots.sort((a, b) => a.split('/').length - b.split('/').length);
    if (!found) return null;
    const folder = found.slice(0, -'root.json'.length);
    return {
      channels: [...files.keys()]
        .filter((path) => path.startsWith(folder))
        .map((path) =>
          /^([^/]+)\/(?:manifest\.json|history\/\d+\.json)$/.exec(path.slice(folder.length)),
        )
        .filter((match) => match && isChannel(match[1]))
        .map((match) => match[1]),
      async read(name, limit, told) {
        const file = files.get(folder + name);
        return file ? collect(file.stream(), limit, told) : null;
      },
    };
  }

  async function need(source, name, limit, told) {
    const data = await source.read(name, limit, told);
    return data || fail(`${name} is missing`, 'missing');
  }

  /* What is shown. */

  const MARKS = {
    wait: ['…', 'in progress'],
    good: ['✓', 'passed'],
    bad: ['✗', 'failed'],
    skip: ['–', 'left out'],
  };

  function element(tag, name, text, parent) {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  /** The list of checks, and what came of them. */
  class Sheet {
    constructor() {
      this.done = 0;
      this.failed = [];
      at('checks').replaceChildren();
    }

    group(title) {
      element('h3', '', title, at('checks'));
      this.list = element('ul', 'checks', '', at('checks'));
      say('', 'Checking…', title);
    }

    /** Run one check; `work` gives what to say of it, `null` to leave it out, or throws. */
    async check(what, work) {
      const row = element('li', '', '', this.list);
      const mark = element('span', 'mark', '', row);
      mark.setAttribute('role', 'img');
      element('span', 'what', what, row);
      const why = element('span', 'why', '', row);
      const set = (state, text) => {
        row.className = state;
        mark.textContent = MARKS[state][0];
        mark.setAttribute('aria-label', MARKS[state][1]);
        why.textContent = text;
      };
      set('wait', '');
      try {
        const said = await work((text) => (why.textContent = text));
        this.done += said.skip ? 0 : 1;
        set(said.skip ? 'skip' : 'good', said.skip || said);
        return true;
      } catch (error) {
        const reason = explain(error);
        this.done += 1;
        this.failed.push(`${what}: ${reason}`);
        set('bad', reason);
        return false;
      }
    }
  }

  function explain(error) {
    if (error.code === 'no_crypto') {
      return 'this browser cannot verify Ed25519: use Chrome 137, Firefox 129, Safari 17 or later (no_crypto)';
    }
    const message = error.message.replace(/ this (root|release|manifest)\.v1$/, ' this $1');
    return error.code ? `${message} (${error.code})` : message;
  }

  function say(state, title, ...lines) {
    const box = at('verdict');
    box.className = state;
    const [first, ...rest] = lines;
    const head = element('p', '', '');
    element('strong', '', title, head);
    head.append(first || '');
    box.replaceChildren(head, ...rest.map((line) => element('p', '', line)));
  }

  /* The checks, in the order of trust. */

  async function roots(source, sheet, known) {
    const chain = [];
    sheet.group('Root chain');
    const follow = async (number) => {
      const data = await need(source, `root/${number}.json`, LIMITS.root);
      const previous = chain.length ? chain[chain.length - 1].keyring : undefined;
      const keyring = await verifyRoot(data, { previous });
      if (keyring.root.number !== number) fail(`holds root ${keyring.root.number}`, 'root_gap');
      chain.push({ keyring, data, digest: await digest(data) });
      const { keys, threshold } = keyring.root.roles.root;
      return `signed by ${threshold} of ${count(keys.length, 'key')}, fingerprint ${grouped(chain[number - 1].digest)}`;
    };
    const claimed = await number(source);
    let whole = await sheet.check('root/1.json', () => follow(1));
    for (let n = 2; whole && n <= Math.min(claimed, 4096); n++) {
      whole = await sheet.check(`root/${n}.json follows root ${n - 1}`, () => follow(n));
    }
    await sheet.check('The root you know', () => compare(known, chain));
    if (!chain.length) return null;
    const newest = chain[chain.length - 1];
    await sheet.check('root.json is the newest root', () => isNewest(source, newest));
    await sheet.check(`Root ${newest.keyring.root.number} is in time`, () => {
      checkRootFresh(newest.keyring, Date.now());
      return `valid until ${until(newest.keyring.root.expires)}`;
    });
    return { newest: newest.keyring, first: chain[0].digest, chain };
  }

  /** The number that `root.json` claims, to look that far; what it says is checked later. */
  async function number(source) {
    try {
      return (
        readDocument(await need(source, 'root.json', LIMITS.root), LIMITS.root).signed.number || 1
      );
    } catch {
      return 1;
    }
  }

  function compare(known, chain) {
    if (!known) return { skip: 'no fingerprint was given' };
    if (!/^[0-9a-f]{32,64}$/.test(known)) {
      fail('that is no fingerprint: want 64 hex digits, or at least the first 32', 'usage');
    }
    const n = chain.findIndex((one) => one.digest.startsWith(known));
    return n < 0
      ? fail(`no root of this site has the fingerprint ${grouped(known)}`, 'root')
      : `it is root ${n + 1}`;
  }

  async function isNewest(source, { keyring, data }) {
    const { number } = keyring.root;
    if (!same(await need(source, 'root.json', LIMITS.root), data)) {
      fail(`is not the same file as root/${number}.json`, 'root');
    }
    const later = await source.read(`root/${number + 1}.json`, LIMITS.root);
    // Some servers answer a page for what they do not have.
    const follows = later && (await verifyRoot(later, { previous: keyring }).catch(() => null));
    return follows ? fail(`root/${number + 1}.json follows it`, 'root') : `it is root ${number}`;
  }

  async function channelChecks(source, sheet, keyring, channel, versions) {
    sheet.group(`Channel ${channel}`);
    const name = `${channel}/manifest.json`;
    let data, trusted;
    await sheet.check(name, async () => {
      data = await need(source, name, LIMITS.manifest);
      trusted = await verifyManifest(keyring, data, channel);
      return `signed, number ${trusted.manifest.sequence}`;
    });
    if (!trusted) return null;
    const { manifest } = trusted;
    await sheet.check(`${channel} is in time`, () => {
      checkFresh(trusted, { seen: null, now: Date.now(), rootIssued: keyring.root.issued });
      return `issued ${until(manifest.issued)}, valid until ${until(manifest.expires)}`;
    });
    for (const [n, release] of trusted.releases.entries()) {
      await sheet.check(`Release ${release.version || `of offer ${n + 1}`}`, () =>
        isStored(source, keyring, manifest.offers[n], release),
      );
    }
    await sheet.check(`${channel}/history`, (told) => past(source, channel, data, versions, told));
    await sheet.check(`${channel}/capgo.json`, () => stock(source, channel, trusted));
    return trusted;
  }

  async function isStored(source, keyring, offer, release) {
    if (release instanceof Error) throw release;
    const name = `releases/${release.version}.json`;
    const stored = readDocument(await need(source, name, LIMITS.release), LIMITS.release);
    if (encode(stored.signed) !== encode(offer.release.signed)) {
      fail(`${name} is not the release that is offered`, 'history');
    }
    await verifyRelease(keyring, stored);
    return `signed; ${count(release.tree.files, 'file')}`;
  }

  /** Walk back from the newest manifest, each by the SHA-256 that the next one signed. */
  async function past(source, channel, data, versions, told) {
    let { signed } = readDocument(data, LIMITS.manifest);
    const copy = await need(source, historyName(channel, signed.sequence), LIMITS.manifest);
    if (!same(copy, data)) {
      fail(
        `${historyName(channel, signed.sequence)} is not the same file as manifest.json`,
        'history',
      );
    }
    await nothingAhead(source, channel, signed);
    let seen = 1;
    for (learn(signed, versions); signed.previous; learn(signed, versions)) {
      signed = await before(source, channel, signed);
      seen += 1;
      if (seen % 10 === 0) told(`${seen} manifests`);
    }
    return `${count(seen, 'manifest')}, each named by the one after it`;
  }

  async function nothingAhead(source, channel, { sequence, app }) {
    const ahead = await source.read(historyName(channel, sequence + 1), LIMITS.manifest);
    try {
      const { signed } = readDocument(ahead || new Uint8Array(), LIMITS.manifest);
      if (signed.app !== app || signed.sequence !== sequence + 1) return;
    } catch {
      return;
    }
    fail(`manifest.json is number ${sequence}, but history goes on`, 'history');
  }

  async function before(source, channel, { sequence, previous, app }) {
    let found = false;
    for (let n = sequence - 1; n > Math.max(0, sequence - GAP); n--) {
      const data = await source.read(historyName(channel, n), LIMITS.manifest);
      found = found || data !== null;
      if (!data || (await digest(data)) !== previous) continue;
      const { signed } = readDocument(data, LIMITS.manifest);
      if (signed.sequence === n && signed.channel === channel && signed.app === app) return signed;
      fail(
        `${historyName(channel, n)} is of ${signed.app}, ${signed.channel}, number ${signed.sequence}`,
        'history',
      );
    }
    const name = historyName(channel, sequence - 1);
    return found
      ? fail(`${name} is not what manifest ${sequence} names as its previous`, 'history')
      : fail(`${name} is missing`, 'missing');
  }

  /** Remember which version a tree is, to say from which release a patch leads. */
  function learn({ offers }, versions) {
    for (const offer of Array.isArray(offers) ? offers : []) {
      const { tree, version } = (offer.release && offer.release.signed) || {};
      if (tree && typeof version === 'string' && isVersion(version))
        versions.set(tree.digest, version);
    }
  }

  /* What stock plugins are told: the rules of `core/stock.py`, for wherever the site may be. */

  async function stock(source, channel, trusted) {
    const whole = await source.read(`${channel}/capgo.json`, 2 ** 24);
    if (!whole) return { skip: 'not there: stock Capgo plugins are told nothing' };
    const lists = new Map();
    for (const release of trusted.releases) lists.set(release, await listed(source, release));
    const answers = PLATFORMS.map((platform) => answer(trusted, platform, lists));
    const alike = JSON.stringify(answers[0]) === JSON.stringify(answers[1]);
    agrees(`${channel}/capgo.json`, whole, alike ? answers[0] : answer(trusted, null, lists));
    for (const [n, platform] of PLATFORMS.entries()) {
      const name = `${channel}/capgo-${platform}.json`;
      const data = await source.read(name, 2 ** 24);
      if (data) agrees(name, data, answers[n]);
      else if (!alike) fail(`${name} is missing`, 'missing');
    }
    return 'says what the manifest says';
  }

  const base64 = (data) => btoa(String.fromCharCode(...data));
  const spelt = (checksum, form) => (form === 'v2' ? base64(checksum) : hex(checksum));
  const blocked = (message) => ({ error: 'blocked', kind: 'blocked', message });

  /** What plugins are told, its members sorted and its addresses relative. */
  function answer({ manifest, releases }, platform, lists) {
    if (manifest.paused) return blocked('updates are paused');
    const everyone = ({ platforms, native }) =>
      (!platforms.length || platforms.includes(platform)) &&
      !native.some(
        (one) => platform === null || one.platform === null || one.platform === platform,
      );
    const release = releases.find(
      (one, n) =>
        !(one instanceof Error) &&
        shareAt(manifest.offers[n].rollout, manifest.issued) === 10_000 &&
        !manifest.withdrawn.includes(one.version) &&
        (!one.channels.length || one.channels.includes(manifest.channel)) &&
        everyone(one.audience) &&
        everyone(manifest.offers[n].audience),
    );
    if (!release)
      return manifest.withdrawn.length && !manifest.offers.length
        ? { version: 'builtin' }
        : blocked('nothing is offered to every device');
    const { version, bundle, capgo } = release;
    const files = lists.get(release);
    return {
      checksum: capgo ? spelt(capgo.checksum, capgo.form) : bundle.plain,
      ...(files ? { manifest: files } : {}),
      ...(capgo ? { session_key: `${base64(capgo.iv)}:${base64(capgo.session_key)}` } : {}),
      url: blobName(bundle.blob),
      version,
    };
  }

  /** The single files of a release as plugins are told of them; `null` if they cannot be. */
  async function listed(source, { files, capgo }) {
    if (!files) return null;
    const data = await source.read(blobName(files.blob), files.size);
    if (!data || (await digest(data)) !== files.blob) return null; // which is found out below
    return new Reader(decode(data, files.size), '$').list('files', LIMITS.files, (value, at) => {
      const one = new Reader(value, at);
      const packed = one.text('encoding', /^(br|none)$/, '`br` or `none`') === 'br';
      return {
        download_url: blobName(one.digest('blob')),
        file_hash: capgo ? spelt(one.bytes('checksum', 256), capgo.form) : one.digest('sha256'),
        file_name: one.text('path', /./) + (packed ? '.br' : ''),
      };
    });
  }

  /** Compare byte for byte, all but where the site is: nobody knows which of two members counts. */
  function agrees(name, data, relative) {
    let said;
    try {
      said = { ...JSON.parse(fromUtf8(data)) };
    } catch {
      fail(`${name} is not JSON`, 'format');
    }
    const differs = (what) =>
      fail(`${name} does not follow from the manifest: ${what}`, 'stock');
    const want = absolute(relative, String(said.url));
    for (const member of new Set([...Object.keys(want).reverse(), ...Object.keys(said)])) {
      if (JSON.stringify(said[member]) !== JSON.stringify(want[member])) differs(`its ${member}`);
    }
    const text = JSON.stringify(want, null, 1).replace(
      /[\u007f-\uffff]/g,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    if (!same(utf8(`${text}\n`), data)) differs('how it is written');
  }

  /** Put the address of the site before each blob, as far as `url` has one. */
  function absolute(relative, url) {
    if (!relative.url) return relative;
    const found = url.endsWith(`/${relative.url}`) ? url.slice(0, -relative.url.length) : '';
    const base = /^https?:\/\/[^\s?#]+\/$/.test(found) ? found : '…/';
    const manifest = (relative.manifest || []).map((one) => ({
      ...one,
      download_url: base + one.download_url,
    }));
    const files = relative.manifest ? { manifest } : {};
    return { ...relative, ...files, url: base + relative.url };
  }

  /* Blobs. */

  function payloads(lines) {
    const found = new Map();
    for (const { manifest, releases } of lines) {
      releases.forEach((release, n) => {
        if (release instanceof Error) return;
        const { version, bundle, files } = release;
        const add = (what, payload) =>
          found.has(payload.blob) || found.set(payload.blob, { what, payload });
        add(`Bundle of ${version}`, bundle);
        if (files) add(`List of single files of ${version}`, files);
        for (const patch of manifest.offers[n].patches) add(`Patch to ${version}`, patch);
      });
    }
    return [...found.values()];
  }

  async function blob(source, { blob: name, size }, told) {
    if (size > MOST_BLOB) return { skip: 'too large for a browser: run `manifestgen verify`' };
    const data = await need(source, blobName(name), size, (loaded) =>
      told(`${loaded.toLocaleString('en')} of ${count(size, 'byte')}`),
    );
    if (data.length > size)
      fail(`${blobName(name)} has more than the ${count(size, 'byte')} signed`, 'digest');
    if (data.length < size) {
      fail(
        `${blobName(name)} has ${count(data.length, 'byte')} of the ${size.toLocaleString('en')} signed`,
        'digest',
      );
    }
    const found = await digest(data);
    return found === name
      ? count(size, 'byte')
      : fail(`${blobName(name)} was altered: its SHA-256 is ${found.slice(0, 16)}…`, 'digest');
  }

  /* All of it. */

  async function verify(source) {
    if (!globalThis.crypto || !crypto.subtle) {
      const how =
        'Open this page by https or on localhost, or open index.html of a copy on disk and choose its folder.';
      return say(
        'bad',
        'Nothing was checked.',
        'Browsers give pages that come by plain http no cryptography.',
        how,
      );
    }
    const sheet = new Sheet();
    const [known, given] = [fingerprint(), linked]; // both may change meanwhile
    const trust = await roots(source, sheet, known);
    const lines = [];
    const versions = new Map();
    if (trust) {
      const every = channels(source);
      if (!every.length) await sheet.check('Channels', () => fail('none is here', 'missing'));
      for (const channel of every) {
        const trusted = await channelChecks(source, sheet, trust.newest, channel, versions);
        if (trusted) lines.push(trusted);
      }
      const files = payloads(lines);
      if (files.length) sheet.group('Files devices download');
      for (const one of files)
        await sheet.check(one.what, (told) => blob(source, one.payload, told));
      name(versions);
    }
    conclude(sheet, trust, known, given);
  }

  function channels(source) {
    const shown = [...document.querySelectorAll('[data-channel]')].map(
      (one) => one.dataset.channel,
    );
    return [...new Set(source === web ? shown : source.channels)].sort();
  }

  function name(versions) {
    for (const one of document.querySelectorAll('[data-base]')) {
      const version = versions.get(one.dataset.base);
      if (version) one.textContent = version;
    }
  }

  function conclude({ done, failed }, trust, known, given) {
    if (failed.length) {
      const more = failed.length > 3 ? [`and ${failed.length - 3} more below`] : [];
      return say(
        'bad',
        `${failed.length} of ${count(done, 'check')} failed.`,
        '',
        ...failed.slice(0, 3),
        ...more,
      );
    }
    const { app, number } = trust.newest.root;
    const title = `All ${count(done, 'check')} passed.`;
    if (known) {
      const from = trust.chain.findIndex((one) => one.digest.startsWith(known)) + 1;
      const rest = from < number ? `, and root ${number} follows from it` : '';
      const what = `This is what the keys of ${app} signed: root ${from} is the one you know${rest}.`;
      return say('good', title, what, ...(given ? [LINKED] : []));
    }
    return say(
      '',
      title,
      `Everything follows from root 1 with the fingerprint ${grouped(trust.first)}.`,
      'Whether that root is yours, nothing here can tell: compare the fingerprint with the one you know.',
    );
  }

  /* Around it. */

  /** Read a fingerprint: in groups, as `sha256sum` prints it, or its beginning. */
  function fingerprint() {
    const text = at('known').value.trim().toLowerCase();
    const found = /^([0-9a-f]{64})\s/.exec(text);
    return found ? found[1] : text.replace(/[\s:-]/g, '');
  }

  let busy = false;
  let linked = false; // whether the fingerprint was in the address, and not typed

  async function go(source) {
    if (busy) return;
    busy = true;
    const buttons = [at('run'), at('choose')];
    for (const button of buttons) button.setAttribute('aria-disabled', 'true');
    try {
      await verify(source);
    } catch (error) {
      say('bad', 'The check broke off.', explain(error));
    } finally {
      busy = false;
      for (const button of buttons) button.removeAttribute('aria-disabled');
    }
  }

  function tick() {
    const words = new Intl.RelativeTimeFormat('en');
    const now = Date.now();
    for (const time of document.querySelectorAll('[data-until]')) {
      const left = (Date.parse(time.dateTime) - now) / 60_000;
      const [size, unit] = [
        [1440, 'day'],
        [60, 'hour'],
        [1, 'minute'],
      ].find(([size]) => Math.abs(left) >= size * 2) || [1, 'minute'];
      const span =
        time.nextElementSibling && time.nextElementSibling.matches('.count')
          ? time.nextElementSibling
          : element('span', '', '');
      span.className = left <= 0 ? 'count over' : 'count';
      span.textContent = ` (${left <= 0 ? 'expired ' : ''}${words.format(Math.trunc(left / size), unit)})`;
      time.after(span);
    }
    for (const plot of document.querySelectorAll('svg[data-begin]')) {
      const [begin, end] = [Date.parse(plot.dataset.begin), Date.parse(plot.dataset.end)];
      const line =
        plot.querySelector('.now') ||
        document.createElementNS('http://www.w3.org/2000/svg', 'path');
      line.setAttribute('class', 'now');
      line.setAttribute('d', `M${(100 * (now - begin)) / (end - begin)} 0V100`);
      const inside = begin <= now && now <= end;
      if (inside) plot.append(line);
      else line.remove();
      plot.closest('figure').querySelector('.told').hidden = !inside;
    }
  }

  const local = location.protocol === 'file:';
  at('tools').hidden = false;
  at('run').hidden = local;
  at(local ? 'choose' : 'run').className = 'main';
  if (local) at('choose').textContent = 'Choose the site’s folder…';
  at('run').addEventListener('click', () => go(web));
  at('choose').addEventListener('click', () => busy || at('folder').click());
  at('folder').addEventListener('change', () => {
    const files = [...at('folder').files];
    at('folder').value = ''; // so that the same folder can be chosen again
    if (!files.length) return;
    const source = chosen(files);
    if (source) go(source);
    else say('bad', 'Nothing was checked.', 'This folder is no site: there is no root.json in it.');
  });
  const remember = () => {
    const found = /^#root=(.*)$/.exec(location.hash);
    if (!found) return;
    at('known').value = found[1].slice(0, 200);
    linked = true;
  };
  at('known').addEventListener('input', () => (linked = false));
  at('known').addEventListener('change', () => {
    const text = fingerprint();
    history.replaceState(
      null,
      '',
      text ? `#root=${encodeURIComponent(text)}` : location.pathname + location.search,
    );
  });
  addEventListener('hashchange', remember);
  remember();
  tick();
  setInterval(tick, 30_000);
}
