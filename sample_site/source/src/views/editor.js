import "../styles/editor.css";
import { dropNote, putNote } from "../data/notes.js";
import { SPECIES } from "../data/species.js";
import { isoDay } from "../lib/dates.js";
import { h, icon, toast } from "../lib/dom.js";
import { KINDS, knownKind } from "../lib/kinds.js";

/** Write a new note, or change `note`; `done` is called after each change. */
export function openEditor(note, done) {
  const kind = knownKind(note?.kind ?? "bird");
  const form = h(
    "form",
    { method: "dialog" },
    h(
      "div",
      { class: "top" },
      h("h2", { id: "editor-title" }, note ? "Edit note" : "New note"),
      h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")),
    ),
    h(
      "fieldset",
      { class: "kinds" },
      h("legend", {}, "Kind"),
      ...Object.entries(KINDS).map(([value, label]) =>
        h("label", {}, h("input", { type: "radio", name: "kind", value, checked: value === kind }), h("span", {}, icon(value), label)),
      ),
    ),
    field("What", h("input", { name: "title", required: true, maxlength: 80, value: note?.title, list: "species", autocomplete: "off" })),
    h("datalist", { id: "species" }, ...SPECIES.map(({ name }) => h("option", { value: name }))),
    h(
      "div",
      { class: "pair" },
      field("How many", h("input", { name: "count", type: "number", min: 1, max: 99999, inputmode: "numeric", value: note?.count })),
      field("Day", h("input", { name: "day", type: "date", required: true, value: note?.day ?? isoDay(), max: isoDay() })),
    ),
    field("Where", h("input", { name: "place", maxlength: 80, value: note?.place, autocomplete: "off" })),
    field("Notes", h("textarea", { name: "text", rows: 3, maxlength: 2000 }, note?.text ?? "")),
    h(
      "div",
      { class: "buttons" },
      note && h("button", { type: "button", class: "quiet", onclick: remove }, "Delete"),
      h("button", { type: "submit", class: "main" }, "Save note"),
    ),
  );
  const dialog = h("dialog", { class: "editor", "aria-labelledby": "editor-title", onclose: () => dialog.remove() }, form);

  // A known name sets its kind, which saves a tap.
  form.elements.title.addEventListener("change", ({ target }) => {
    const found = SPECIES.find(({ name }) => name.toLowerCase() === target.value.trim().toLowerCase());
    if (found) form.elements.kind.value = found.kind;
  });
  form.addEventListener("submit", () => {
    const value = Object.fromEntries(new FormData(form));
    const count = value.count ? Number(value.count) : null;
    putNote({ ...value, count, title: value.title.trim(), id: note?.id ?? String(Date.now()) });
    done();
    toast(note ? "Note changed." : "Note saved.");
  });
  function remove() {
    dropNote(note.id);
    dialog.close();
    done();
    toast("Note deleted.", () => (putNote(note), done()));
  }

  document.body.append(dialog);
  dialog.showModal();
  if (!note) form.elements.title.focus();
}

function field(label, input) {
  return h("label", { class: "field" }, h("span", {}, label), input);
}
