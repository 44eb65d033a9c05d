/**
 * Over-the-air updates, by the files that `manifestgen client` puts beside index.html.
 *
 * Off until update.json names a site; with `live` there, each save of a developer is shown at once.
 * In a native shell with Capgo's plugin the plugin does the work, elsewhere a service worker.
 */

import { h } from "./lib/dom.js";

const TRUST = {
  expired: "The update server has not been renewed for too long.",
  replay: "The update server is behind what was seen before.",
  equivocation: "The update server says two things at once. Please tell whoever runs it.",
};

/** Say that this version works, then look for another; tell what comes of it in `line`. */
export async function startUpdates(line) {
  const settings = await read("update.json", (answer) => answer.json());
  if (!settings?.site) return;
  const say = (...text) => {
    line.hidden = false;
    line.replaceChildren(...text);
  };
  try {
    const updater = await makeUpdater(settings);
    updater.on("rolled_back", ({ version }) => say(`Version ${version} did not work and was left.`));
    await updater.start();
    await updater.confirm();
    if (settings.live) return await showSaves(updater, say);
    say("Looking for an update…");
    await update(updater, say);
  } catch (error) {
    say(explained(error));
  }
}

/** Do what the site says; a new version shows itself at the next start. */
async function update(updater, say) {
  const found = await updater.check();
  if (found.action === "none") return say("Up to date.");
  if (found.action === "install") {
    say(`Loading version ${found.version}…`);
    await updater.download();
  }
  await updater.apply();
  const news = found.version ? `Version ${found.version} is ready.` : "This version was withdrawn.";
  say(`${news} `, h("button", { type: "button", onclick: () => location.reload() }, "Restart"));
}

/** For development: look every second, and load again what is new. */
async function showSaves(updater, say) {
  const { follow } = await load("follow.js");
  const now = (error) => say(error ? explained(error) : "Following each save.");
  now(null);
  await follow(updater, { say: now });
}

async function makeUpdater({ site, channel, live }) {
  const plugin = globalThis.Capacitor?.Plugins?.CapacitorUpdater;
  const { createUpdater } = await load("manifestgen.js");
  const platform = plugin ? await onPhone(plugin) : await inBrowser();
  const root = await read("root.json", (answer) => answer.text());
  if (live) platform.device.builtin = null; // 1.1.0-dev.1 comes before 1.1.0
  return createUpdater({ site: new URL(site, document.baseURI).href, channel, root, ...platform });
}

async function onPhone(plugin) {
  const { capgoAdapter, capgoDevice, preferencesStorage } = await load("capgo.js");
  return {
    adapter: capgoAdapter({ plugin }),
    storage: preferencesStorage(Capacitor.Plugins.Preferences),
    device: await capgoDevice({ plugin, platform: Capacitor.getPlatform() }),
  };
}

async function inBrowser() {
  const { browserAdapter, browserStorage } = await load("browser.js");
  const key = await read("capgo.pub.pem", (answer) => answer.text());
  const adapter = browserAdapter({ keys: key ? [key] : [] });
  const storage = browserStorage(`fieldnotes ${new URL("./", document.baseURI).pathname}`);
  return { adapter, storage, device: await describe(adapter, storage) };
}

/** A device is counted by an id of its own; what the server has is known when it runs. */
async function describe(adapter, storage) {
  const id = (await storage.get("id")) ?? crypto.randomUUID();
  await storage.set("id", id);
  if ((await adapter.current()) === null) await storage.set("builtin", __VERSION__);
  return { id, platform: "web", builtin: await storage.get("builtin") };
}

/** The client lies beside index.html as it came: no build changes what checks the next build. */
function load(file) {
  return import(/* @vite-ignore */ new URL(file, document.baseURI).href);
}

async function read(file, parse) {
  try {
    const answer = await fetch(file);
    return answer.ok ? await parse(answer) : null;
  } catch {
    return null;
  }
}

function explained({ name, code, message }) {
  if (TRUST[code]) return `${TRUST[code]} (${code})`;
  if (code === "store") return "The update server cannot be reached.";
  if (name === "VerificationError") return `An update was refused. (${code})`;
  return `Updates do not work here: ${message}`;
}
