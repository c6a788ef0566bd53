// The models: which one answers clicks, and the engine that segments the whole body or what a text names.

import { h, icon, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";

export function automaticPanel(app, actions) {
  const words = h("input", { type: "text", class: "ps-input", placeholder: t("text.example"), "aria-label": t("text"), maxLength: 100, list: "ps-anatomy", autocomplete: "off", dataset: { key: "text" } });
  const choices = h("div", { class: "ps-buttons" });
  const ask = (text) => actions.segmentText(text, fast.checked).then((found) => replaceKeepingFocus(choices, (found ?? []).map((choice) => h("button", { type: "button", class: "ps-button", dataset: { choice }, onclick: () => { words.value = choice; ask(choice); } }, anatomy(choice)))));
  words.addEventListener("keydown", (event) => event.key === "Enter" && ask(words.value));
  const fast = h("input", { type: "checkbox", checked: true });
  const whole = h("button", { type: "button", class: "ps-button ps-primary ps-wide", dataset: { key: "wholebody" }, onclick: () => actions.wholeBody(fast.checked) }, icon("body", 16), t("wholebody"));
  const go = h("button", { type: "button", class: "ps-button", dataset: { key: "text-go" }, onclick: () => ask(words.value) }, t("text.go"));
  const missing = h("p", { class: "ps-hint" });
  const models = h("ul", { class: "ps-list", "aria-label": t("models") });
  const tools = h("div", {}, h("div", { class: "ps-stack" }, whole, h("label", { class: "ps-check" }, fast, t("wholebody.fast"))), h("div", { class: "ps-add" }, words, go), choices);
  const draw = () => {
    const config = actions.config();
    const there = Boolean(config.extras?.wholebody);
    const fits = !app.session?.colour && !app.flat2d;
    tools.hidden = !there || !fits;
    whole.disabled = go.disabled = Boolean(app.beside);
    missing.hidden = there && fits;
    missing.replaceChildren(...there ? [t("wholebody.flat")] : [t("wholebody.missing"), h("code", {}, config.install?.wholebody ?? 'pip install "promptseg[wholebody]"')]);
  };
  const load = async () => {
    draw();
    try {
      const found = await app.api.get("/models");
      replaceKeepingFocus(models, found.map((model) => row(app, actions, model, load)));
    } catch (error) { app.fail(error); }
  };
  app.on("tab", (id) => id === "automatic" && load());
  for (const event of ["session", "job"]) app.on(event, () => app.session && draw());
  return [h("h2", { class: "ps-head" }, t("wholebody.head")), tools, missing, h("h2", { class: "ps-head" }, t("models")), models];
}

function row(app, actions, model, reload) {
  const current = model.id === app.session?.model;
  const size = model.size_bytes ? (model.size_bytes >= 1e9 ? `${(model.size_bytes / 1e9).toFixed(1)} GB` : `${Math.round(model.size_bytes / 1e6)} MB`) : "";
  const action = current ? h("span", { class: "ps-chip ps-on" }, t("model.current"))
    : model.downloaded ? h("button", { type: "button", class: "ps-button", onclick: () => actions.useModel(model.id) }, t("model.use"))
      : h("button", { type: "button", class: "ps-button", onclick: () => actions.pullModel(model).then(reload) }, icon("download", 14), t("model.get"));
  return h("li", { class: "ps-model", dataset: { model: model.id } }, h("strong", {}, model.title), action, model.speed_note ? h("span", { class: "ps-faint" }, model.speed_note) : null,
    h("span", { class: `ps-faint ${model.commercial_use === false ? "ps-warn" : ""}` }, [model.licence, model.commercial_use === false ? t("model.noncommercial") : "", size].filter(Boolean).join(" · ")));
}
