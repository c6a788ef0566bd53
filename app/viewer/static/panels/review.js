// The slices to look at first, worst confidence first; accepting the present slice as it is.

import { h, icon, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";
import { colour } from "../strip.js";

const MOST = 30;

export function reviewPanel(app) {
  const head = h("h2", { class: "ps-head" });
  const list = h("ol", { class: "ps-list", "aria-label": t("review") });
  const hint = h("p", { class: "ps-hint" });
  const accept = h("button", { type: "button", class: "ps-button ps-wide", onclick: () => app.accept(app.session && app.lastView || "axial") }, icon("check", 16), t("review.accept"), h("kbd", {}, "A"));
  const draw = () => {
    if (!app.session) return;
    const name = app.selectedLabel()?.name;
    head.textContent = name ? t("review.of", { name: anatomy(name) }) : t("review");
    const items = (app.review?.items ?? []).slice(0, MOST);
    hint.textContent = items.length ? t("review.hint") : t(app.flat2d ? "review.flat" : "review.none");
    accept.hidden = !name || app.flat2d;
    replaceKeepingFocus(list, items.map((item, i) => row(app, item, i)));
  };
  for (const event of ["review", "labels", "session"]) app.on(event, draw);
  return [head, hint, list, accept];
}

/** Slices count from 1 for people, from 0 in the engine. */
const withNumbers = (reason) => reason.replace(/slice (\d+)/g, (_, index) => `slice ${Number(index) + 1}`);

function row(app, item, number) {
  const view = app.planes.frame.view(item.plane);
  const percent = Math.round(100 * item.confidence);
  return h("li", {}, h("button", { type: "button", class: "ps-review", dataset: { key: `review-${number}` }, onclick: () => { app.lastView = app.goTo(item.plane, item.index); } },
    h("span", { class: "ps-score", style: { background: colour(item.confidence) } }, `${percent}`),
    h("span", { class: "ps-review-text" }, h("span", {}, `${t(`view.${view}`)} ${item.index + 1}`), item.reason ? h("span", { class: "ps-faint" }, withNumbers(item.reason)) : null)));
}
