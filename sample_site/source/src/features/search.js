import "../styles/search.css";
import { h, icon } from "../lib/dom.js";
import { KINDS } from "../lib/kinds.js";

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/**
 * A search field and a row of kinds; `onchange` gets a test for the entries to show.
 *
 * @param {{label: string, textOf: (entry: any) => string, onchange: (test: (entry: any) => boolean) => void}} options
 */
export function searchBar({ label, textOf, onchange }) {
  const input = h("input", { type: "search", "aria-label": label, placeholder: label, autocomplete: "off" });
  let kind = "";
  const update = () => {
    const words = fold(input.value).split(/\s+/).filter(Boolean);
    onchange((entry) => {
      const text = fold(textOf(entry));
      return (!kind || entry.kind === kind) && words.every((word) => text.includes(word));
    });
  };
  input.addEventListener("input", update);
  const chip = ([value, text]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: "filter", checked: value === "", onchange: () => ((kind = value), update()) }),
      h("span", {}, text),
    );
  return h(
    "search",
    { class: "search" },
    h("div", { class: "box" }, icon("search"), input),
    h("fieldset", { class: "chips" }, h("legend", { class: "visually-hidden" }, "Show"), ...[["", "All"], ...Object.entries(KINDS)].map(chip)),
  );
}
