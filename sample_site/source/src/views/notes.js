import hills from "../assets/hills.svg";
import { allNotes } from "../data/notes.js";
import { sayDay, weekday } from "../lib/dates.js";
import { badge, h, icon } from "../lib/dom.js";
import { KINDS, knownKind } from "../lib/kinds.js";
import { load, save } from "../lib/store.js";

export const title = "Notes";

export function render() {
  const list = h("div", { class: "notes" });
  let shown = () => true;

  const edit = async (note) => {
    const { openEditor } = await import("./editor.js");
    openEditor(note, draw);
  };
  const draw = () => {
    const notes = allNotes();
    list.replaceChildren(...days(notes.filter(shown), edit, notes.length > 0));
  };
  draw();

  const slot = __SEARCH__ && h("div", { class: "slot" });
  const page = h(
    "div",
    { class: "page" },
    hero(),
    __SEARCH__ && news(),
    slot,
    list,
    h("button", { type: "button", class: "add", onclick: () => edit(null) }, icon("plus"), "New note"),
  );
  if (__SEARCH__) {
    import("../features/search.js").then(({ searchBar }) => {
      const bar = searchBar({
        label: "Search notes",
        textOf: (note) => `${note.title} ${note.place} ${note.text}`,
        onchange: (test) => ((shown = test), draw()),
      });
      slot.append(bar);
    });
  }
  return page;
}

function hero() {
  return h(
    "div",
    { class: "hero" },
    h("img", { src: hills, alt: "", width: 800, height: 300 }),
    h("div", {}, h("h1", {}, "What did you see?"), h("p", {}, weekday.format(new Date()))),
  );
}

/** What changed in this version, until it has been read. */
function news() {
  if (load("news", "") === __VERSION__) return null;
  const card = h(
    "aside",
    { class: "news", "aria-label": "What is new" },
    h("div", {}, h("strong", {}, "New in 1.1"), h("p", {}, "Search your notes, read at night in the dark theme, and five fungi in the guide.")),
    h(
      "button",
      { type: "button", class: "plain", "aria-label": "Close", onclick: () => (save("news", __VERSION__), card.remove()) },
      icon("close"),
    ),
  );
  return card;
}

function days(notes, edit, any) {
  if (!notes.length) return [h("p", { class: "empty" }, any ? "No note matches." : "No notes yet. Add the first one.")];
  return [...new Set(notes.map(({ day }) => day))].map((day) => {
    const cards = notes.filter((note) => note.day === day).map((note) => h("li", {}, card(note, edit)));
    return h("section", {}, h("h2", {}, sayDay(day)), h("ul", {}, ...cards));
  });
}

function card(note, edit) {
  const kind = knownKind(note.kind);
  return h(
    "button",
    { type: "button", class: "card", onclick: () => edit(note) },
    badge(kind),
    h(
      "span",
      { class: "body" },
      h(
        "span",
        { class: "line" },
        h("strong", {}, note.title),
        h("span", { class: "visually-hidden" }, `, ${KINDS[kind]},`),
        note.count > 1 && h("span", { class: "count" }, `× ${note.count}`),
      ),
      note.place ? h("span", { class: "place" }, note.place) : null,
      note.text ? h("span", { class: "text" }, note.text) : null,
    ),
  );
}
