// The slices to look at first, worst confidence first; accepting the present slice as it is.

import { h, icon, replaceKeepingFocus } from "../dom.js";
import { anatomy, t } from "../i18n.js";
import { isDoubtful, usual } from "../doubt.js";
import { DOUBT, SURE } from "../strip.js";

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
    const items = app.review?.items ?? [];
    const typical = usual(items.map((item) => item.confidence));
    const doubtful = items.map((item) => isDoubtful(item.confidence, typical) || oddity(app, item) !== null);
    const count = doubtful.filter(Boolean).length;
    hint.textContent = items.length ? t(count ? "review.some" : "review.alike", { count, all: items.length }) : t(app.flat2d ? "review.flat" : "review.none");
    accept.hidden = !name || app.flat2d;
    const order = items.map((_, i) => i).sort((a, b) => Number(doubtful[b]) - Number(doubtful[a]) || a - b).slice(0, MOST);
    replaceKeepingFocus(list, order.map((i, number) => row(app, items[i], number, doubtful[i])));
  };
  for (const event of ["review", "labels", "session"]) app.on(event, draw);
  return [head, hint, list, accept];
}

/** Slices count from 1 for people, from 0 in the engine. */
const withNumbers = (reason) => reason.replace(/slice (\d+)/g, (_, index) => `slice ${Number(index) + 1}`);

/** How a slice's intensities differ from the prompted ones; null where they do not. */
function oddity(app, item) {
  const odd = item.plane === "axial" ? app.review.odd.get(item.index) : undefined;
  return odd ? t("review.odd", { mean: Math.round(odd.mean), prompted: Math.round(odd.prompted) }) : null;
}

function row(app, item, number, doubtful) {
  const view = app.planes.frame.view(item.plane);
  const why = [oddity(app, item), item.reason ? withNumbers(item.reason) : null, doubtful ? null : t("review.usual")].find(Boolean) ?? t("review.less_sure");
  return h("li", {}, h("button", { type: "button", class: "ps-review", dataset: { key: `review-${number}` }, onclick: () => { app.lastView = app.goTo(item.plane, item.index); } },
    h("span", { class: "ps-score", style: { background: doubtful ? DOUBT : SURE }, "aria-hidden": "true" }, doubtful ? "!" : ""),
    h("span", { class: "ps-review-text" }, h("span", {}, `${t(`view.${view}`)} ${item.index + 1}`), h("span", { class: "ps-faint" }, why))));
}
