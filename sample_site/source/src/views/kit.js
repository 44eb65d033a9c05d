import "../styles/kit.css";
import { KIT } from "../data/kit.js";
import { h, icon, toast } from "../lib/dom.js";
import { load, save } from "../lib/store.js";

export const title = "Kit";

export function render() {
  const kit = load("kit", { packed: [], own: [] });
  const bar = h("progress", { "aria-label": "Packed" });
  const count = h("p", { class: "lead", "aria-live": "polite" });
  const lists = h("div", { class: "lists" });

  const names = () => [...KIT.flatMap(({ items }) => items), ...kit.own];
  const update = () => {
    save("kit", kit);
    const packed = names().filter((name) => kit.packed.includes(name)).length;
    bar.max = names().length;
    bar.value = packed;
    count.textContent = packed === bar.max ? "All packed. Off you go." : `${packed} of ${bar.max} packed`;
  };
  const draw = () => {
    const groups = kit.own.length ? [...KIT, { group: "My own", items: kit.own, own: true }] : KIT;
    lists.replaceChildren(...groups.map(section));
    update();
  };
  const section = ({ group, items, own }) =>
    h("section", {}, h("h2", {}, group), h("ul", { class: "card" }, ...items.map((name) => h("li", {}, check(name), own && dropper(name)))));
  const check = (name) =>
    h("label", {}, h("input", { type: "checkbox", checked: kit.packed.includes(name), onchange: (event) => pack(name, event.target.checked) }), h("span", {}, name));
  const pack = (name, yes) => {
    kit.packed = kit.packed.filter((other) => other !== name).concat(yes ? name : []);
    update();
  };
  const dropper = (name) =>
    h("button", { type: "button", class: "plain", "aria-label": `Remove ${name}`, onclick: () => ((kit.own = kit.own.filter((other) => other !== name)), draw()) }, icon("close"));

  const input = h("input", { name: "item", "aria-label": "Add to the list", placeholder: "Add to the list", maxlength: 60, autocomplete: "off" });
  const adder = h("form", { class: "adder", onsubmit: add }, input, h("button", { type: "submit", class: "main" }, "Add"));
  function add(event) {
    event.preventDefault();
    const name = input.value.trim();
    if (!name) return;
    if (names().includes(name)) return toast(`${name} is on the list.`);
    kit.own = [...kit.own, name];
    input.value = "";
    draw();
  }
  function unpack() {
    const before = kit.packed;
    kit.packed = [];
    draw();
    toast("Unpacked.", () => ((kit.packed = before), draw()));
  }

  draw();
  return h(
    "div",
    { class: "page" },
    h("div", { class: "title" }, h("h1", {}, "Kit"), h("button", { type: "button", class: "quiet", onclick: unpack }, "Unpack all")),
    count,
    bar,
    lists,
    adder,
  );
}
