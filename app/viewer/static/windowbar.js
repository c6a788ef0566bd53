// Window and level: the presets of the image, and two numbers that can be typed.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { presets } from "./windows.js";

export class WindowBar {
  constructor(app) {
    this.app = app;
    this.presets = [];
    this.choice = h("select", { class: "ps-select", "aria-label": t("window.preset"), dataset: { key: "window" }, onchange: () => this.choose(Number(this.choice.value)) });
    const number = (key) => h("input", { type: "number", step: "any", class: "ps-input ps-number ps-window-number", "aria-label": t(`window.${key}`), title: t(`window.${key}`), dataset: { key }, onchange: () => this.typed() });
    this.level = number("level");
    this.width = number("width");
    this.element = h("div", { class: "ps-window" }, this.choice, h("span", { class: "ps-faint", "aria-hidden": "true" }, "L"), this.level, h("span", { class: "ps-faint", "aria-hidden": "true" }, "W"), this.width);
    app.on("session", (state) => state && this.fill(state));
    app.on("window", () => this.show());
  }

  fill(state) {
    this.presets = presets(state, this.app.planes);
    this.choice.replaceChildren(...this.presets.map(({ id }, i) => h("option", { value: i }, t(`window.${id}`))), h("option", { value: "own", hidden: true }, t("window.own")));
    this.element.hidden = !this.presets.length;
    this.choice.title = state.window?.source ?? "";
    this.show();
  }

  choose(number) {
    const chosen = this.presets[number];
    if (chosen) this.app.setWindow(chosen.low, chosen.high);
  }

  typed() {
    const level = Number(this.level.value), width = Math.max(1e-6, Number(this.width.value));
    if (Number.isFinite(level) && Number.isFinite(width)) this.app.setWindow(level - width / 2, level + width / 2);
  }

  show() {
    const { low, high } = this.app.planes.window;
    const at = this.presets.findIndex((p) => Math.abs(p.low - low) < 1e-6 && Math.abs(p.high - high) < 1e-6);
    this.choice.value = at >= 0 ? String(at) : "own";
    this.level.value = String(rounded((low + high) / 2));
    this.width.value = String(rounded(high - low));
  }
}

const rounded = (v) => (Math.abs(v) >= 10 ? Math.round(v) : Math.round(v * 100) / 100);
