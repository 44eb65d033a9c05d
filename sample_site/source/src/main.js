import "./styles/base.css";
import "./styles/notes.css";
import { addSwitch } from "#theme";
import { toast } from "./lib/dom.js";
import * as notes from "./views/notes.js";

const VIEWS = {
  notes: async () => notes,
  guide: () => import("./views/guide.js"),
  kit: () => import("./views/kit.js"),
  convert: () => import("./views/convert.js"),
};

const main = document.getElementById("main");
let wanted = "";

/** Show the view named by the address, unless another was chosen while it loaded. */
async function show() {
  const name = Object.hasOwn(VIEWS, location.hash.slice(2)) ? location.hash.slice(2) : "notes";
  const first = wanted === "";
  wanted = name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let view;
  try {
    view = await VIEWS[name]();
  } catch {
    if (wanted === name) toast("This page could not be loaded.");
    return;
  }
  if (wanted !== name) return;
  main.className = `view-${name}`;
  main.replaceChildren(view.render());
  document.title = `${view.title} · Fieldnotes`;
  scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // The address names the view, so the link must not change it.
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", show);
addSwitch();

// Not a top-level await: lazy chunks import this module, and would wait for it while it waits for them.
show().then(() => {
  // Tells the updater of a native shell that this version starts; unheard, the shell goes back to the last one.
  window.Capacitor?.Plugins?.CapacitorUpdater?.notifyAppReady();
  return import("./update.js").then(({ startUpdates }) =>
    startUpdates(document.getElementById("update-status")),
  );
});
