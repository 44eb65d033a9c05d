import { isoDay } from "../lib/dates.js";
import { load, save } from "../lib/store.js";

const first = () => [
  { id: "a", kind: "bird", title: "Kingfisher", count: 1, place: "Mill Weir", day: isoDay(), text: "Blue streak downstream, then ten minutes on the willow stump. Two dives, one fish." },
  { id: "b", kind: "insect", title: "Brimstone", count: 3, place: "Long Lane hedge", day: isoDay(), text: "On bramble along the sunny side. All males." },
  { id: "c", kind: "mammal", title: "Roe deer", count: 2, place: "Top Field", day: isoDay(1), text: "Doe and this year’s fawn at the wood’s edge, 06:40." },
  { id: "d", kind: "plant", title: "Wood anemone", count: null, place: "Abbot’s Wood", day: isoDay(1), text: "A white carpet under the hazel." },
  { id: "e", kind: "bird", title: "Swift", count: 14, place: "Church tower", day: isoDay(4), text: "Screaming party low over the roofs at dusk." },
  { id: "f", kind: "plant", title: "Foxglove", count: 30, place: "Quarry path", day: isoDay(4), text: "Spikes a metre and a half tall. Bumblebees in nearly every bell." },
];

/** All notes, newest day first. The first start shows a few examples. */
export function allNotes() {
  const notes = load("notes", null) ?? first();
  return [...notes].sort((a, b) => (a.day < b.day ? 1 : a.day > b.day ? -1 : 0));
}

/** Add a note, or replace the one with the same id. */
export function putNote(note) {
  save("notes", [note, ...allNotes().filter(({ id }) => id !== note.id)]);
}

export function dropNote(id) {
  save("notes", allNotes().filter((note) => note.id !== id));
}
