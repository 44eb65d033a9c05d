import "../styles/convert.css";
import { QUANTITIES, say } from "../data/units.js";
import { h } from "../lib/dom.js";
import { load, save } from "../lib/store.js";

export const title = "Convert";

export function render() {
  const chosen = load("convert", { quantity: "Distance", unit: "km", value: "12" });
  // Saved by another version of the app, perhaps, with a quantity this one does not know.
  if (!Object.hasOwn(QUANTITIES, chosen.quantity)) chosen.quantity = "Distance";

  const value = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", id: "value", value: chosen.value });
  const unit = h("select", { "aria-label": "Unit" });
  const results = h("dl", { class: "card results", "aria-live": "polite" });

  const update = () => {
    const units = QUANTITIES[chosen.quantity];
    const from = units.find(({ name }) => name === chosen.unit) ?? units[0];
    const number = Number(chosen.value.trim().replace(",", ".").replace("−", "-"));
    const known = chosen.value.trim() !== "" && Number.isFinite(number);
    results.replaceChildren(
      ...units
        .filter((to) => to !== from)
        .map((to) => h("div", {}, h("dt", {}, to.label), h("dd", {}, known ? say(to.fromBase(from.toBase(number))) : "–", h("small", {}, ` ${to.name}`)))),
    );
    save("convert", chosen);
  };
  const offer = () => {
    const units = QUANTITIES[chosen.quantity];
    if (!units.some(({ name }) => name === chosen.unit)) chosen.unit = units[0].name;
    unit.replaceChildren(...units.map(({ name, label }) => h("option", { value: name, selected: name === chosen.unit }, `${label} (${name})`)));
    update();
  };
  value.addEventListener("input", () => ((chosen.value = value.value), update()));
  unit.addEventListener("change", () => ((chosen.unit = unit.value), update()));

  const tabs = h(
    "fieldset",
    { class: "chips" },
    h("legend", { class: "visually-hidden" }, "Quantity"),
    ...Object.keys(QUANTITIES).map((name) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name: "quantity", checked: name === chosen.quantity, onchange: () => ((chosen.quantity = name), offer()) }),
        h("span", {}, name),
      ),
    ),
  );
  offer();
  return h(
    "div",
    { class: "page" },
    h("h1", {}, "Convert"),
    tabs,
    h("div", { class: "card from" }, h("label", { for: "value" }, "From"), h("div", {}, value, unit)),
    results,
  );
}
