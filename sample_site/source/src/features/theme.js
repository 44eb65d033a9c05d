import "../styles/dark.css";
import { h, icon } from "../lib/dom.js";
import { load, save } from "../lib/store.js";

const system = matchMedia("(prefers-color-scheme: dark)");

function apply() {
  const theme = load("theme", null) ?? (system.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=theme-color]").content = theme === "dark" ? "#1a221d" : "#2c6349";
  return theme;
}

/** Put the switch in the header; until it is used the theme is the system's. */
export function addSwitch() {
  const button = h("button", { type: "button", class: "plain" });
  const draw = () => {
    const dark = apply() === "dark";
    button.setAttribute("aria-label", dark ? "Light theme" : "Dark theme");
    button.replaceChildren(icon(dark ? "sun" : "moon"));
  };
  button.addEventListener("click", () => {
    save("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    draw();
  });
  system.addEventListener("change", draw);
  draw();
  document.getElementById("actions").append(button);
}
