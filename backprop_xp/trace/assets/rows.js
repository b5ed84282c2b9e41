// Tables, and the buttons in them that open the details of a number.

/** A table; a row with fewer cells than columns begins with a wider cell. */
function table(heads, rows, caption) {
  const headRow = heads.map((head) => h("th", { scope: "col" }, head));
  const bodyRow = ({ kind, cells: [first, ...others] }) => {
    const span = heads.length - others.length;
    const head = h("th", { scope: "row", colspan: span > 1 && span }, first);
    return h("tr", { class: kind }, head, ...others.map((cell) => h("td", {}, cell)));
  };
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      {},
      caption && h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, headRow)),
      h("tbody", {}, rows.map(bodyRow)),
    ),
  );
}

const row = (...cells) => ({ cells, kind: null });
const totalRow = (...cells) => ({ cells, kind: "total" });
const othersRow = (...cells) => ({ cells, kind: "others" });

/** A number that opens the details of its weight or bias. */
function openButton(thing, value) {
  const label = `${thingName(thing)}: ${rounded(value)}`;
  const attributes = { type: "button", class: "link", "aria-label": label };
  return h("button", { ...attributes, onclick: () => choose(thing) }, number(value));
}

const weightButton = (edge, value) => openButton({ kind: "weight", ...edge }, value);

function moreButton(onclick) {
  return h("button", { type: "button", class: "more", onclick }, t("show_all"));
}

/** A short name of a unit. */
function shortName(layer, place) {
  if (layer === 0 && IMAGE) return `${pixelPlace(place).join(", ")}`;
  const given = unitLabel(layer, place);
  return given === null ? String(count(layer, place)) : `${count(layer, place)} (${given})`;
}
