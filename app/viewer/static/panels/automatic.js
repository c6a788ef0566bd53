// The models: which one answers clicks, and the engine that segments the whole body or what a text names.

import { h, icon, replaceKeepingFocus } from "../dom.js";
import { t } from "../i18n.js";

export function automaticPanel(app, actions) {
  const words = h("input", { type: "text", class: "ps-input", placeholder: t("text.example"), "aria-label": t("text"), maxLength: 200 });
  const choices = h("div", { class: "ps-buttons" });
  const ask = (text) => actions.segmentText(text).then((found) => replaceKeepingFocus(choices, (found ?? []).map((choice) => h("button", { type: "button", class: "ps-button", onclick: () => { words.value = choice; ask(choice); } }, choice))));
  words.addEventListener("keydown", (event) => event.key === "Enter" && ask(words.value));
  const fast = h("input", { type: "checkbox", checked: true });
  const whole = h("button", { type: "button", class: "ps-button ps-primary ps-wide", onclick: () => actions.wholeBody(fast.checked) }, icon("body", 16), t("wholebody"));
  const go = h("button", { type: "button", class: "ps-button", onclick: () => ask(words.value) }, t("text.go"));
  const missing = h("p", { class: "ps-hint" });
  const models = h("ul", { class: "ps-list", "aria-label": t("models") });
  const draw = () => {
    const config = actions.config();
    const there = Boolean(config.extras?.wholebody);
    for (const control of [whole, go, words, fast]) control.disabled = !there;
    missing.hidden = there;
    missing.replaceChildren(t("wholebody.missing"), h("code", {}, config.install?.wholebody ?? 'pip install "promptseg[wholebody]"'));
  };
  const load = async () => {
    draw();
    try {
      const found = await app.api.get("/models");
      replaceKeepingFocus(models, found.map((model) => row(app, actions, model, load)));
    } catch (error) { app.fail(error); }
  };
  app.on("tab", (id) => id === "automatic" && load());
  app.on("session", (state) => state && draw());
  return [h("h2", { class: "ps-head" }, t("wholebody.head")), h("div", { class: "ps-stack" }, whole, h("label", { class: "ps-check" }, fast, t("wholebody.fast"))),
    h("div", { class: "ps-add" }, words, go), choices, missing, h("h2", { class: "ps-head" }, t("models")), models];
}

function row(app, actions, model, reload) {
  const current = model.id === app.session?.model;
  const size = model.size_bytes ? (model.size_bytes >= 1e9 ? `${(model.size_bytes / 1e9).toFixed(1)} GB` : `${Math.round(model.size_bytes / 1e6)} MB`) : "";
  const action = current ? h("span", { class: "ps-chip ps-on" }, t("model.current"))
    : model.downloaded ? h("button", { type: "button", class: "ps-button", onclick: () => actions.useModel(model.id) }, t("model.use"))
      : h("button", { type: "button", class: "ps-button", onclick: () => actions.pullModel(model).then(reload) }, icon("download", 14), t("model.get"));
  return h("li", { class: "ps-model" }, h("div", { class: "ps-model-text" }, h("strong", {}, model.title), h("span", { class: "ps-faint" }, [model.speed_note, size].filter(Boolean).join(" · ")),
    h("span", { class: `ps-faint ${model.commercial_use === false ? "ps-warn" : ""}` }, model.licence)), action);
}
