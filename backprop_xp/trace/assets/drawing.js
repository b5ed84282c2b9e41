// The drawing of the network: circles for neurons, lines for weights, and an image for inputs
// that are one.

const TOP = 46; // room for the names of the layers
const BOTTOM = 26; // room for the note on hidden units

let drawn = null; // the elements of the last drawing

/** The smallest distance between two neurons of a layer of that size. */
const pitchOf = (units) => (units <= 5 ? 64 : units <= 10 ? 47 : units <= 16 ? 34 : 18.5);

function layoutOf(room) {
  const wide = room > 620;
  const units = SHOWN.map((places) => places.length);
  const circles = IMAGE ? units.slice(1) : units;
  const height = Math.max(wide ? 300 : 260, ...circles.map((n) => n * pitchOf(n)));
  const side = IMAGE ? Math.min(wide ? 210 : 104, (height - 60) / 2, room * 0.27) : 0;
  const left = IMAGE ? side / 2 + 2 : DATA.network.features ? (wide ? 120 : 64) : 30;
  const right = DATA.network.classes ? (wide ? 116 : 70) : wide ? 92 : 72;
  const gaps = IMAGE ? DEPTH - 0.35 : DEPTH;
  const width = Math.max(room, left + right + gaps * 62);
  const gap = (width - left - right - (IMAGE ? side / 2 : 0)) / DEPTH;
  const x = SHOWN.map((_, layer) => left + (IMAGE && layer ? side / 2 : 0) + layer * gap);
  const spread = units.map((n) => Math.min(104, height / n));
  const radius = spread.map((pitch) => Math.min(21, pitch * 0.4, gap * 0.3));
  const y = (layer, place) => TOP + height / 2 + (place - (units[layer] - 1) / 2) * spread[layer];
  return { wide, width, height, side, gap, x, y, radius, spread };
}

function buildDrawing() {
  const host = document.getElementById("drawing");
  const layout = layoutOf(host.clientWidth);
  const size = { width: layout.width, height: TOP + layout.height + BOTTOM };
  const root = svg("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "group" });
  drawn = {
    root,
    layout,
    units: [],
    lines: [],
    biases: [],
    names: [],
    fan: [],
    grid: null,
    map: null,
  };
  const beneath = svg("g", { "aria-hidden": "true" });
  const above = svg("g");
  drawn.halo = svg("line", { class: "halo", visibility: "hidden" });
  beneath.append(drawn.halo);
  const lines = LAYERS.map((_, place) => linesInto(place + 1));
  if (IMAGE) {
    above.append(...imageParts());
    lines[0].setAttribute("class", "lines many over"); // they come out of its pixels
    above.append(lines.shift());
  }
  beneath.append(...lines);
  for (let layer = IMAGE ? 1 : 0; layer <= DEPTH; layer++) above.append(unitsOf(layer));
  const heads = SHOWN.map((_, layer) => layerHead(layer));
  root.append(beneath, above, ...heads);
  host.replaceChildren(root);
  listen(root);
}

function linesInto(layer) {
  const { x, y, radius } = drawn.layout;
  const group = svg("g", {
    class: SHOWN[layer].length * SHOWN[layer - 1].length > 200 ? "lines many" : "lines",
  });
  drawn.lines[layer] = { group, list: [] };
  if (layer === 1 && IMAGE) {
    drawn.fan = SHOWN[1].map((_, j) => svg("line", { x2: x[1] - radius[1], y2: y(1, j) }));
    group.append(...drawn.fan);
    return group;
  }
  SHOWN[layer].forEach((_, j) => {
    SHOWN[layer - 1].forEach((_, k) => {
      const ends = { x1: x[layer - 1] + radius[layer - 1], y1: y(layer - 1, k) };
      const element = svg("line", { ...ends, x2: x[layer] - radius[layer], y2: y(layer, j) });
      element.dataset.edge = `${layer} ${j} ${k}`;
      drawn.lines[layer].list.push({
        layer,
        j,
        k,
        element,
        ...ends,
        x2: x[layer] - radius[layer],
        y2: y(layer, j),
      });
      group.append(element);
    });
  });
  return group;
}

function unitsOf(layer) {
  const { x, y, radius, spread, wide } = drawn.layout;
  const r = radius[layer];
  const group = svg("g", { class: "units", role: "group" });
  drawn.units[layer] = SHOWN[layer].map((_, place) => {
    const circle = svg("circle", { r });
    const text = r >= 14 ? svg("text", { dy: "0.35em" }) : null;
    const element = svg("g", {
      class: "unit",
      role: "button",
      transform: `translate(${x[layer]} ${y(layer, place)})`,
    });
    element.append(svg("circle", { class: "ring", r: r + 4 }), circle, ...(text ? [text] : []));
    element.dataset.unit = `${layer} ${place}`;
    if (layer > 0 && HAS_BIAS) {
      const half = r >= 14 ? 4.5 : 2.8;
      const bias = svg("rect", {
        class: "bias",
        x: -r * 0.86 - half,
        y: -r * 0.86 - half,
        width: 2 * half,
        height: 2 * half,
        rx: 1,
      });
      bias.dataset.bias = `${layer} ${place}`;
      element.append(bias);
      (drawn.biases[layer] ??= []).push(bias);
    }
    const label =
      layer === 0
        ? inputLabel(place, r)
        : layer === DEPTH
          ? outputLabel(place, r, spread[layer], wide)
          : null;
    if (label) element.append(label);
    group.append(element);
    return { element, circle, text, group };
  });
  return group;
}

function inputLabel(place, r) {
  const given = unitLabel(0, place);
  if (given === null) return null;
  return svg(
    "text",
    { class: "label", x: -r - 8, dy: "0.35em", "text-anchor": "end" },
    clipped(given, drawn.layout.wide ? 12 : 6),
  );
}

/** Class and target at an output, in two lines if there is room. */
function outputLabel(place, r, pitch, wide) {
  const given = unitLabel(DEPTH, place);
  const label = svg("text", { class: "label", x: r + 10 });
  const target = svg("tspan", { class: "target" });
  const title =
    given === null ? null : svg("tspan", { class: "class" }, clipped(given, wide ? 11 : 7));
  drawn.names[place] = { target, title };
  if (title && pitch >= 34) {
    target.setAttribute("x", r + 10);
    target.setAttribute("dy", "1.25em");
    label.setAttribute("y", "-0.2em");
  } else {
    label.setAttribute("dy", "0.35em");
    if (title) title.append("  ");
  }
  label.append(...(title ? [title] : []), target);
  return label;
}

/** A text cut to a width in letters; a Chinese character counts as two. */
function clipped(text, most) {
  const characters = [...text];
  let width = 0;
  const fits = characters.findIndex((one) => (width += one > "\u2e80" ? 2 : 1) > most);
  return fits < 0 ? text : `${characters.slice(0, fits - 1).join("")}…`;
}

function layerHead(layer) {
  const { x, width, gap } = drawn.layout;
  const activation = layer ? LAYERS[layer - 1].activation : "";
  const first = svg("tspan", { x: x[layer] });
  const second = svg(
    "tspan",
    { x: x[layer], dy: "1.3em", class: "aside" },
    clipped(activation, Math.max(7, Math.floor(gap / 6.4))),
  );
  const text = svg("text", { class: "head", x: x[layer], y: 14 }, first, second);
  const left = hiddenUnits(layer);
  const note = left
    ? svg("text", {
        class: "head aside",
        x: Math.min(Math.max(x[layer], 34), width - 34),
        y: TOP + drawn.layout.height + 18,
      })
    : null;
  (drawn.heads ??= [])[layer] = { first, note, left };
  return svg("g", { "aria-hidden": "true" }, text, note);
}

function imageParts() {
  const { side, height, x } = drawn.layout;
  const middle = TOP + height / 2;
  const [rows, columns] = IMAGE;
  const tall = (side * rows) / Math.max(rows, columns);
  const left = x[0] - (side * columns) / Math.max(rows, columns) / 2;
  drawn.grid = makeGrid(left, middle - tall - 26, side, "image");
  drawn.map = makeGrid(left, middle + 18, side, "map");
  drawn.grid.group.setAttribute("role", "application");
  drawn.grid.group.setAttribute("tabindex", "0");
  drawn.map.group.setAttribute("aria-hidden", "true");
  drawn.mapName = svg("text", {
    class: "map-name",
    x: left,
    y: middle + 18 + tall + 18,
    "aria-hidden": "true",
  });
  return [drawn.grid.group, drawn.map.group, drawn.mapName];
}

// --- what each step changes --------------------------------------------------------------------

function updateDrawing() {
  const step = currentStep();
  drawn.root.setAttribute("aria-label", t("network"));
  for (let layer = 0; layer <= DEPTH; layer++) {
    updateHead(layer);
    if (drawn.units[layer]) updateUnits(step, layer);
    if (layer) updateLines(step, layer);
  }
  if (IMAGE) updateImage(step);
  SHOWN[DEPTH].forEach((_, place) => {
    const { target, title } = drawn.names[place];
    target.textContent = `y ${signed(rounded(current().target[place], 3))}`;
    const isTarget = current().label !== null && unitLabel(DEPTH, place) === current().label;
    title?.classList.toggle("wanted", isTarget);
  });
  updateChosen();
}

function updateHead(layer) {
  const { first, note, left } = drawn.heads[layer];
  first.textContent = layer === 0 ? t("input") : t("layer", { layer });
  if (note) note.textContent = t("more_units", { count: left });
}

/** The largest absolute value, which sets the scale of a drawing. */
const largest = (values) =>
  values.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0) || 1;

function updateUnits(step, layer) {
  const values = drawn.units[layer].map((_, place) => unitShows(step, layer, place));
  const most = largest(values);
  const lit = unitsAreLit(step, layer);
  const radius = drawn.layout.radius[layer];
  drawn.units[layer][0].group.setAttribute(
    "aria-label",
    layer ? t("layer", { layer }) : t("input"),
  );
  drawn.units[layer].forEach(({ element, circle, text }, place) => {
    const value = values[place];
    const sign = value === null ? "blank" : value < 0 ? "negative" : "positive";
    element.setAttribute("class", `unit ${sign}${lit ? " lit" : ""}`);
    circle.style.setProperty("--amount", `${(62 * Math.abs(value ?? 0)) / most}%`);
    if (text) {
      text.textContent = value === null ? "" : signed(brief(value));
      text.setAttribute(
        "font-size",
        Math.min(13, (2.7 * radius) / Math.max(text.textContent.length, 4)),
      );
    }
    element.setAttribute("aria-label", spoken(step, layer, place, value));
  });
  (drawn.biases[layer] ?? []).forEach((bias, j) => {
    const value = lineValue(lineQuantity(step), layer, j, null);
    bias.setAttribute("class", `bias ${value < 0 ? "negative" : "positive"}`);
  });
}

function spoken(step, layer, place, value) {
  const called = unitName(layer, place);
  if (value === null) return called;
  const letter = { a: layer ? "a" : "x", delta: "δ", after: layer ? "a" : "x" }[
    unitQuantity(step, layer)
  ];
  return `${called}, ${letter} = ${rounded(value)}`;
}

function updateLines(step, layer) {
  const { group, list } = drawn.lines[layer];
  group.classList.toggle("lit", linesAreLit(step, layer));
  const quantity = lineQuantity(step);
  const values = list.map(({ j, k }) => lineValue(quantity, layer, j, k));
  const most = largest(values);
  list.forEach(({ element }, i) => paintLine(element, values[i], most));
}

function paintLine(element, value, most) {
  const share = Number.isFinite(value) ? Math.abs(value) / most : 0;
  element.setAttribute("class", value < 0 ? "negative" : value > 0 ? "positive" : "zero");
  element.style.setProperty("--share", share);
}

function updateImage(step) {
  const { grid, map, fan, layout } = drawn;
  paintImage(grid);
  const j = focusOf(1);
  const quantity = lineQuantity(step);
  paintMap(map, j, quantity);
  drawn.mapName.textContent = t(`map_${quantity}`, { neuron: count(1, j) });
  grid.group.setAttribute(
    "aria-label",
    t("image_label", { rows: IMAGE[0], columns: IMAGE[1] }),
  );
  const { chosen } = state;
  const pixel =
    chosen?.layer === 1 && chosen.kind === "weight"
      ? chosen.k
      : chosen?.kind === "input"
        ? chosen.k
        : null;
  grid.pointAt(pixel);
  map.pointAt(chosen?.kind === "weight" ? pixel : null);
  const [x1, y1] =
    pixel === null ? [grid.x + grid.width + 3, TOP + layout.height / 2] : grid.centre(pixel);
  const values = fan.map((_, place) => (pixel === null ? 0 : lineValue(quantity, 1, place, pixel)));
  fan.forEach((element, place) => {
    element.setAttribute("x1", x1);
    element.setAttribute("y1", y1);
    if (pixel === null) element.setAttribute("class", "fan");
    else paintLine(element, values[place], largest(values));
  });
}

/** Mark the selected thing, and highlight the lines of a selected neuron. */
function updateChosen() {
  const { chosen } = state;
  drawn.root.classList.toggle(
    "choosing",
    chosen?.kind === "neuron" || (chosen?.kind === "input" && !IMAGE),
  );
  const isChosen = (layer, place) => {
    if (chosen?.kind === "neuron" || chosen?.kind === "bias")
      return chosen.layer === layer && chosen.j === place;
    return chosen?.kind === "input" && layer === 0 && chosen.k === place;
  };
  drawn.units.forEach((units, layer) =>
    units.forEach(({ element }, place) => {
      element.classList.toggle("chosen", isChosen(layer, place));
      element.setAttribute("aria-pressed", isChosen(layer, place));
      element.setAttribute("tabindex", place === rovingPlace(layer) ? 0 : -1);
    }),
  );
  drawn.halo.setAttribute("visibility", "hidden");
  drawn.lines.forEach(({ list }) =>
    list.forEach((edge) => {
      edge.element.classList.toggle(
        "near",
        isChosen(edge.layer, edge.j) || isChosen(edge.layer - 1, edge.k),
      );
      if (
        chosen?.kind !== "weight" ||
        chosen.layer !== edge.layer ||
        chosen.j !== edge.j ||
        chosen.k !== edge.k
      )
        return;
      for (const end of ["x1", "y1", "x2", "y2"]) drawn.halo.setAttribute(end, edge[end]);
      drawn.halo.setAttribute("visibility", "visible");
      edge.element.classList.add("near");
    }),
  );
}

/** The neuron of a layer that the tab key moves to; the arrow keys go on from there. */
const rovingPlace = (layer) => state.roving[layer] ?? (layer ? focusOf(layer) : 0);
