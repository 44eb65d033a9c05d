import "../styles/guide.css";
import { SPECIES } from "../data/species.js";
import { badge, h } from "../lib/dom.js";
import { KINDS } from "../lib/kinds.js";

export const title = "Guide";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

export function render() {
  const list = h("div", { class: "species" });
  let shown = () => true;
  const draw = () => list.replaceChildren(...groups(SPECIES.filter(shown)));
  draw();

  const slot = __SEARCH__ && h("div", { class: "slot" });
  if (__SEARCH__) {
    import("../features/search.js").then(({ searchBar }) => {
      const bar = searchBar({
        label: "Search the guide",
        textOf: ({ name, latin, look, where }) => `${name} ${latin} ${look} ${where}`,
        onchange: (test) => ((shown = test), draw()),
      });
      slot.append(bar);
    });
  }
  return h("div", { class: "page" }, h("h1", {}, "Guide"), h("p", { class: "lead" }, `${SPECIES.length} common sights and when to look.`), slot, list);
}

function groups(species) {
  if (!species.length) return [h("p", { class: "empty" }, "Nothing in the guide matches.")];
  return Object.keys(KINDS)
    .map((kind) => [kind, species.filter((entry) => entry.kind === kind)])
    .filter(([, entries]) => entries.length)
    .map(([kind, entries]) =>
      h("section", {}, h("h2", {}, kind === "fungus" ? "Fungi" : `${KINDS[kind]}s`), ...entries.map(entry)),
    );
}

function entry({ name, latin, kind, months, look, where }) {
  return h(
    "details",
    { class: "card", name: "species" },
    h(
      "summary",
      {},
      badge(kind),
      h("span", { class: "body" }, h("strong", {}, name), h("i", { lang: "la" }, latin)),
      strip(months),
    ),
    h("p", {}, look),
    h("p", {}, h("b", {}, "Where "), where),
    h("p", {}, h("b", {}, "When "), sayMonths(months)),
  );
}

/** May run over the end of the year: October to March is [10, 3]. */
function within(month, [from, to]) {
  return from <= to ? from <= month && month <= to : month >= from || month <= to;
}

function sayMonths([from, to]) {
  return from === 1 && to === 12 ? "all year" : `${MONTHS[from - 1]} to ${MONTHS[to - 1]}`;
}

function strip(months) {
  const now = new Date().getMonth() + 1;
  const cells = MONTHS.map((_, index) => {
    const month = index + 1;
    return h("i", { class: `${within(month, months) ? "on" : ""} ${month === now ? "now" : ""}`.trim() || null });
  });
  return h("span", { class: "strip", "aria-hidden": "true" }, ...cells);
}
