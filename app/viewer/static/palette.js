// Ctrl+K: every command by its name. Typing filters, arrows choose, Enter does it.

import { h } from "./dom.js";
import { t } from "./i18n.js";

export function showPalette(root, commands) {
  const field = h("input", { type: "text", class: "ps-input", autocomplete: "off", placeholder: t("palette.search"), "aria-label": t("palette.search"), role: "combobox", "aria-expanded": "true", "aria-controls": "ps-palette-list" });
  const list = h("ul", { class: "ps-list ps-palette-list", role: "listbox", id: "ps-palette-list", "aria-label": t("palette") });
  const dialog = h("dialog", { class: "ps-dialog ps-palette", "aria-label": t("palette") }, field, list);
  let found = commands, at = 0;
  const run = (command) => { dialog.close(); command.run(); };
  const draw = () => {
    list.replaceChildren(...found.map((command, i) => h("li", { role: "option", id: `ps-command-${i}`, "aria-selected": String(i === at), class: "ps-command", dataset: { command: command.id }, onclick: () => run(command) },
      h("span", {}, command.title), command.shown ? h("kbd", {}, command.shown) : null)));
    field.setAttribute("aria-activedescendant", found.length ? `ps-command-${at}` : "");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    found = commands.filter(({ title }) => words.every((word) => title.toLowerCase().includes(word)));
    at = 0;
    draw();
  });
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) { event.preventDefault(); at = (at + step + found.length) % found.length; draw(); }
    if (event.key === "Enter" && found[at]) { event.preventDefault(); run(found[at]); }
  });
  dialog.addEventListener("close", () => dialog.remove());
  root.append(dialog);
  draw();
  dialog.showModal();
  field.focus();
}
