// All numbers as tables, below the drawing.

const MOST_LISTED = 50;

/** Whether a layer has few enough weights to list all of them. */
const isSmall = (layer) => SIZES[layer] * SIZES[layer - 1] <= 60;
const smallLayers = LAYERS.map((_, place) => place + 1).filter(isSmall);

// The layers whose tables are open; only those are filled. All are open in a small network.
const opened = new Set(smallLayers.length === DEPTH ? ["input", ...smallLayers.map(String)] : []);
const listed = {}; // for each layer the neuron whose weights are listed

function renderTables() {
  const layers = [layerBlock("input", t("input"), inputTable)];
  for (let layer = 1; layer <= DEPTH; layer++) {
    const title = `${t("layer", { layer })} · ${LAYERS[layer - 1].activation}`;
    layers.push(layerBlock(String(layer), title, () => [neuronTable(layer), weightTable(layer)]));
  }
  document
    .getElementById("tables")
    .replaceChildren(
      h("h2", { id: "tables-title" }, t("tables")),
      h("p", {}, t("tables_hint")),
      ...layers,
    );
}

function layerBlock(key, title, content) {
  const body = h("div", { class: "block" });
  const refill = () => body.replaceChildren(...(opened.has(key) ? [content()].flat() : []));
  const toggled = (event) => {
    if (event.target.open === opened.has(key)) return;
    opened[event.target.open ? "add" : "delete"](key);
    refill();
  };
  refill();
  return h("details", { open: opened.has(key), ontoggle: toggled }, h("summary", {}, title), body);
}

/** A table that may be wider than the window and can be scrolled with keys as well. */
function wideTable(key, caption, heads, rows, className = "") {
  const scroll = table(heads, rows);
  fill(scroll, { id: `table-${key}`, role: "region", tabindex: "0", "aria-label": caption }, []);
  scroll.querySelector("table").prepend(h("caption", { class: className }, caption));
  return scroll;
}

function inputTable() {
  const places = SHOWN[0].map((_, place) => place);
  const kept = uncutRows("input", places, (place) => current().input[place]);
  const rows = kept.map((place) => row(unitName(0, place), number(current().input[place])));
  return [
    wideTable(
      "input",
      t("input") + ofSample(),
      [t("input"), "x"],
      rows,
      SAMPLES.length > 1 ? "" : "unseen",
    ),
    ...moreRows("input", places.length - kept.length, hiddenUnits(0)),
  ];
}

/** The sample that a table belongs to, if there are several. */
const ofSample = () => (SAMPLES.length > 1 ? ` · ${t("sample")} ${state.sample + 1}` : "");

/** All items, or if there are too many the largest, in their order. */
function uncutRows(key, places, size) {
  if (places.length <= MOST_LISTED || uncutTables.has(key)) return places;
  return [...places]
    .sort((p, q) => Math.abs(size(q)) - Math.abs(size(p)))
    .slice(0, MOST_LISTED)
    .sort((p, q) => p - q);
}

const uncutTables = new Set();

function moreRows(key, cut, notHere) {
  const parts = [];
  if (cut) {
    const all = () => {
      uncutTables.add(key);
      renderTables();
      document.getElementById(`table-${key}`).focus();
    };
    parts.push(t("rows_cut", { count: cut }), " ", moreButton(all));
  }
  if (notHere) parts.push(" ", t("rows_not_here", { count: notHere }));
  return parts.length ? [h("p", {}, parts)] : [];
}

function neuronTable(layer) {
  const record = LAYERS[layer - 1];
  const heads = [t("neuron"), "z", "a", t("incoming"), "f′(z)", "δ"];
  if (HAS_BIAS) heads.push("b", "∂L/∂b", t("new_b"));
  if (layer === DEPTH) heads.push("y");
  heads.push(t("z_after"), t("a_after"));
  const rows = SHOWN[layer].map((_, j) => {
    const cells = ["z", "a", "incoming", "slope", "delta"].map((name) =>
      number(unit(name, layer, j)),
    );
    if (HAS_BIAS)
      cells.push(...["old", "gradient", "new"].map((name) => number(record[name].bias[j])));
    if (layer === DEPTH) cells.push(number(current().target[j]));
    return row(
      shortName(layer, j),
      ...cells,
      ...["z", "a"].map((name) => number(unitAfter(name, layer, j))),
    );
  });
  const caption = t("neurons_of", { layer }) + ofSample();
  return h(
    "div",
    {},
    wideTable(`neurons-${layer}`, caption, heads, rows),
    moreRows("", 0, hiddenUnits(layer)),
  );
}

/** The weights of a layer, or of one of its neurons at a time if there are too many. */
function weightTable(layer) {
  const all = isSmall(layer);
  const chosen = listed[layer] ?? focusOf(layer);
  const places = all ? SHOWN[layer].map((_, j) => j) : [chosen];
  const record = LAYERS[layer - 1];
  const heads = [t("to"), t("from"), "w", "∂L/∂w", t("change"), t("new")];
  for (const slot of record.slots)
    heads.push(`${slot.name}, ${t("before")}`, `${slot.name}, ${t("after")}`);
  const key = `weights-${layer}`;
  const from = SHOWN[layer - 1].map((_, k) => k);
  const kept = uncutRows(key, from, (k) => weight(record.gradient, layer, chosen, k));
  const rows = places.flatMap((j) =>
    kept.map((k) =>
      row(
        shortName(layer, j),
        shortName(layer - 1, k),
        number(weight(record.old, layer, j, k)),
        number(weight(record.gradient, layer, j, k)),
        number(change(layer, j, k)),
        number(weight(record.new, layer, j, k)),
        ...record.slots.flatMap((slot) =>
          [slot.before, slot.after].map((of) => number(weight(of, layer, j, k))),
        ),
      ),
    ),
  );
  const body = h("div", {}, !all && neuronChoice(layer, chosen));
  body.append(wideTable(key, t("weights_of", { layer }), heads, rows));
  body.append(...moreRows(key, all ? 0 : from.length - kept.length, hiddenUnits(layer - 1)));
  return body;
}

function neuronChoice(layer, chosen) {
  const pick = (event) => {
    listed[layer] = Number(event.target.value);
    renderTables();
    document.getElementById(`listed-${layer}`).focus();
  };
  const options = SHOWN[layer].map((_, j) =>
    h("option", { value: j, selected: j === chosen }, shortName(layer, j)),
  );
  return h(
    "label",
    { class: "choice" },
    t("weights_into"),
    " ",
    h("select", { id: `listed-${layer}`, onchange: pick }, options),
  );
}
