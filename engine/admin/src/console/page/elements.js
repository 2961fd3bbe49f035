// Elements from values. What comes from the cluster becomes text and nothing else: there is no other way here.

/** An element with attributes (a function listens to the event of its name) and children, texts among them. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((it) => it !== null && it !== undefined).map(child));
  return made;
}

const child = (it) => (it instanceof Node ? it : document.createTextNode(String(it)));

/** A link to a view of this page; values go through the query, so that no name can be an address. */
export function link(text, view, query = {}) {
  return element("a", { href: address(view, query) }, text);
}

export function address(view, query = {}) {
  const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const pairs = new URLSearchParams(said.map(([name, value]) => [name, String(value)])).toString();
  return `#/${view}${pairs ? `?${pairs}` : ""}`;
}

/**
 * A table with a caption. A column is {title, of, number, long}; `of` makes a cell of a row, and the first
 * column's cells are the headings of their rows. A row with a `trouble` shows it behind its first `known` columns.
 */
export function table(caption, columns, rows, known = columns.length) {
  const head = columns.map((it) => element("th", { scope: "col", class: kind(it) }, it.title));
  const body = rows.length > 0
    ? rows.map((row) => element("tr", {}, cells(columns, row, known)))
    : element("tr", {}, element("td", { colspan: columns.length, class: "none" }, "none"));
  return element("div", { class: "table", role: "region", tabindex: "0", "aria-label": caption },
    element("table", {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, body)));
}

function cells(columns, row, known) {
  const shown = row.trouble ? columns.slice(0, known) : columns;
  const made = shown.map((it, index) => {
    const value = it.of(row);
    const attributes = { class: kind(it), scope: index === 0 ? "row" : null };
    return element(index === 0 ? "th" : "td", attributes, value ?? "");
  });
  if (row.trouble) {
    made.push(element("td", { class: "trouble", colspan: Math.max(1, columns.length - known) }, row.trouble));
  }
  return made;
}

const kind = (column) => [column.number && "number", column.long && "long"].filter(Boolean).join(" ") || null;

/** The sentence that a list is not all, and the way to its other parts. */
export function pages(listed, view, query = {}) {
  if (!listed.note && listed.pages === 1) return null;
  const to = (text, page) => link(text, view, { ...query, page });
  return element("div", {},
    listed.note ? element("p", { class: "note" }, listed.note) : null,
    listed.pages > 1
      ? element("p", { class: "pages" },
        listed.page > 1 ? to("Previous page", listed.page - 1) : null,
        listed.page < listed.pages ? to("Next page", listed.page + 1) : null)
      : null);
}

export const troubles = (all) => all.map((it) => element("p", { class: "trouble", role: "alert" }, it));

/** A form whose fields are {name, label, type, value}; `done` gets what was entered. */
export function form(fields, submit, done) {
  const inputs = fields.map(({ name, label, type = "text", value = "" }) =>
    element("label", {}, label,
      element("input", { name, type, value, step: type === "datetime-local" ? "1" : null, autocomplete: "off" })));
  return element("form", {
    submit: (event) => {
      event.preventDefault();
      done(Object.fromEntries(new FormData(event.target)));
    },
  }, inputs, element("button", { type: "submit" }, submit));
}

/** Names and values, one below the other. */
export function facts(pairs) {
  return element("dl", {}, pairs.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value ?? "")]));
}

/** A time in the zone of whoever looks; nothing without one. */
export function time(atMs) {
  if (!atMs || atMs <= 0) return "";
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return String(atMs);
  return element("time", { datetime: at.toISOString() }, local(at, true));
}

/** `2026-11-29 11:40:25.432` */
function local(at, withMs) {
  const two = (number) => String(number).padStart(2, "0");
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  return `${date} ${clock}${withMs ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : ""}`;
}

/** What a field for times shows for a time, and back. */
export const fieldOfTime = (atMs) => (atMs ? local(new Date(Number(atMs)), false).replace(" ", "T") : "");
export const timeOfField = (text) => (text ? new Date(text).getTime() : "");

export const count = (number) => (number === undefined || number === null ? "" : number.toLocaleString("en"));
export const rate = (number) => (number === undefined ? "" : number.toFixed(2));
