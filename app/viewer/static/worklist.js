// Sessions as a list of work: what each shows, how far it is, a note; search, next case, take all away.

import { h, icon, iconButton } from "./dom.js";
import { anatomy, language, t } from "./i18n.js";

const STATES = ["new", "work", "done", "rejected"];
const OPEN = new Set(["new", "work"]); // what is still to be done
const MOST_LABELS = 4; // names in a line
const MOST_LINES = 200; // at a time: search finds the others

/** The case to work on after a session (its id), the oldest open one at the end; null where everything is done. */
export async function nextCase(api, present) {
  const lines = (await api.get("/sessions")).sort((a, b) => a.created - b.created);
  const at = lines.findIndex((line) => line.id === present);
  return [...lines.slice(at + 1), ...lines.slice(0, Math.max(0, at))].find((line) => OPEN.has(line.state)) ?? null;
}

export class Worklist {
  constructor(app, actions, start) {
    this.app = app;
    this.actions = actions;
    this.start = start; // the screen: its bar and its line for what went wrong
    this.lines = [];
    this.state = "";
    this.search = h("input", { type: "search", class: "ps-input ps-search", placeholder: t("sessions.search"), "aria-label": t("sessions.search"), oninput: () => this.draw() });
    this.filter = h("select", { class: "ps-select", "aria-label": t("sessions.state"), dataset: { key: "state-filter" }, onchange: () => { this.state = this.filter.value; this.draw(); } },
      h("option", { value: "" }, t("sessions.all")), STATES.map((state) => h("option", { value: state }, t(`state.${state}`))));
    this.all = h("button", { type: "button", class: "ps-button", dataset: { key: "export-done" }, onclick: () => actions.downloadAll() }, icon("download", 15), t("sessions.export"));
    this.list = h("ul", { class: "ps-list ps-sessions" });
    this.element = h("section", { class: "ps-box", hidden: true }, h("div", { class: "ps-worklist-head" }, h("h2", {}, t("sessions")), this.search, this.filter, this.all), this.list);
  }

  async load() {
    this.lines = await this.app.api.get("/sessions");
    this.element.hidden = !this.lines.length;
    this.draw();
  }

  draw() {
    const words = this.search.value.toLowerCase().split(/\s+/);
    const text = (line) => [line.title, line.model, line.modality, line.description, line.note, ...line.labels].join(" ").toLowerCase();
    const found = this.lines.filter((line) => (!this.state || line.state === this.state) && words.every((word) => text(line).includes(word)));
    this.list.replaceChildren(...found.slice(0, MOST_LINES).map((line) => this.line(line)));
    this.all.disabled = !this.lines.some((line) => line.state === "done");
  }

  line(line) {
    const { api } = this.app;
    const title = line.title || t("untitled");
    const names = [...line.labels.slice(0, MOST_LABELS).map(anatomy), ...(line.labels.length > MOST_LABELS ? [`+${line.labels.length - MOST_LABELS}`] : [])];
    const about = [line.modality, line.description, line.frame === null ? "" : t("frame.number", { frame: line.frame + 1 }), line.model === "builtin" ? "" : line.model].filter(Boolean);
    const open = h("button", { type: "button", class: "ps-row", dataset: { session: line.id }, onclick: () => this.open(line) },
      h("img", { class: "ps-thumb", src: api.url(`/studies/${line.study}/series/${encodeURIComponent(line.series)}/thumbnail.png`), alt: "", loading: "lazy" }),
      h("span", { class: "ps-line" }, h("strong", {}, title), h("span", { class: "ps-faint" }, [...about, ...names].join(" · ") || t("sessions.nothing")), line.note ? h("span", { class: "ps-faint ps-line-note" }, line.note) : null),
      h("span", { class: "ps-faint ps-when" }, when(line.changed_at)));
    const state = h("select", { class: `ps-select ps-state ps-state-${line.state}`, "aria-label": t("sessions.state_of", { title }), dataset: { state: line.id }, onchange: () => this.describe(line, { state: state.value }) },
      STATES.map((each) => h("option", { value: each, selected: each === line.state }, t(`state.${each}`))));
    return h("li", {}, open, state, iconButton("paint", t("session.describe", { title }), () => this.ask(line), { class: "ps-small", dataset: { describe: line.id } }),
      iconButton("trash", t("session.delete", { title }), () => this.remove(line), { class: "ps-small", dataset: { remove: line.id } }));
  }

  /** Bring a session back: its history may take a moment. */
  async open(line) {
    const show = (share) => this.start.progress(share, t("open.session", { title: line.title }));
    show(0.2);
    try { await this.actions.openSession(line.id, (share) => show(0.2 + 0.8 * share)); } catch (error) { this.start.fail(error); }
  }

  async describe(line, changes) {
    await this.app.api.patch(`/sessions/${line.id}`, changes).catch((error) => this.start.fail(error));
    await this.load();
  }

  /** Another title or note. */
  ask(line) {
    const title = h("input", { type: "text", class: "ps-input", value: line.title, maxLength: 100, "aria-label": t("session.title") });
    const note = h("textarea", { class: "ps-input ps-note-field", value: line.note, maxLength: 4000, "aria-label": t("session.note") });
    const dialog = h("dialog", { class: "ps-dialog", "aria-label": t("session.describe", { title: line.title }) },
      h("h2", {}, t("session.title")), title, h("h2", {}, t("session.note")), note,
      h("div", { class: "ps-buttons" }, h("button", { type: "button", class: "ps-button ps-primary", dataset: { choice: "yes" }, onclick: () => { dialog.close(); this.describe(line, { ...(title.value.trim() ? { title: title.value.trim() } : {}), note: note.value }); } }, t("keep")),
        h("button", { type: "button", class: "ps-button", onclick: () => dialog.close() }, t("cancel"))));
    dialog.addEventListener("close", () => dialog.remove());
    this.element.append(dialog);
    dialog.showModal();
  }

  /** Delete a session with its masks, if the person really means it. */
  async remove(line) {
    if (!await this.actions.confirm(t("session.delete.sure", { title: line.title || t("untitled") }), t("session.delete.yes"))) return;
    await this.app.api.delete(`/sessions/${line.id}`).catch((error) => this.start.fail(error));
    await this.load();
  }
}

const when = (seconds) => new Date(seconds * 1000).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
