// Texts come from one file per language: locales/<language>.json. A missing one falls back to English.

export const LANGUAGES = { en: "English", "zh-CN": "简体中文" };
let texts = {};
let english = {};
export let language = "en";

export async function loadLanguage(wanted, base) {
  const known = Object.keys(LANGUAGES);
  language = known.find((l) => l === wanted) ?? known.find((l) => l.split("-")[0] === wanted?.split("-")[0]) ?? "en";
  const read = async (name) => (await fetch(`${base}/locales/${name}.json`)).json();
  english = await read("en");
  texts = language === "en" ? english : await read(language);
}

/** The text of a key; {name} is replaced from values. */
export function t(key, values = {}) {
  const text = texts[key] ?? english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Anatomy names are English identifiers in files: shown with blanks, translated where the table has them. */
export function anatomy(name) {
  return texts[`anatomy.${name}`] ?? name.replaceAll("_", " ");
}
