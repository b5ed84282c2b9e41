// Pointing at things in the drawing with the mouse, a finger or keys, and describing them.

const REACH = 7; // the distance in pixels up to which a pointer still selects a line

/** The thing under a point of the drawing: {kind, layer, j, k}, or null. */
function thingAt(event) {
  const box = drawn.root.getBoundingClientRect();
  const point = [event.clientX - box.left, event.clientY - box.top];
  const { bias, unit: place } =
    event.target.closest("[data-bias]")?.dataset ??
    event.target.closest("[data-unit]")?.dataset ??
    {};
  if (bias) {
    const [layer, j] = bias.split(" ").map(Number);
    return { kind: "bias", layer, j, k: null };
  }
  if (place) return unitThing(...place.split(" ").map(Number));
  if (IMAGE) {
    const pixel = drawn.grid.at(...point);
    if (pixel !== null) return unitThing(0, pixel);
    const onMap = drawn.map.at(...point);
    if (onMap !== null) return { kind: "weight", layer: 1, j: focusOf(1), k: onMap };
  }
  return nearestLine(point);
}

const unitThing = (layer, place) =>
  layer === 0
    ? { kind: "input", layer: 0, j: null, k: place }
    : { kind: "neuron", layer, j: place, k: null };

/** The line nearest to a point: lines are close together, and the topmost may be another. */
function nearestLine([x, y]) {
  let best = null;
  let least = REACH;
  for (const { list } of drawn.lines.filter(Boolean)) {
    for (const edge of list) {
      const [dx, dy] = [edge.x2 - edge.x1, edge.y2 - edge.y1];
      const along = ((x - edge.x1) * dx + (y - edge.y1) * dy) / (dx * dx + dy * dy);
      if (along < 0 || along > 1) continue;
      const distance = Math.hypot(edge.x1 + along * dx - x, edge.y1 + along * dy - y);
      if (distance < least) {
        least = distance;
        best = { kind: "weight", layer: edge.layer, j: edge.j, k: edge.k };
      }
    }
  }
  return best;
}

/** The value of a thing at this step, with every digit. */
function exactText(thing) {
  const step = currentStep();
  if (thing.kind === "weight" || thing.kind === "bias") {
    const quantity = lineQuantity(step);
    const value = lineValue(quantity, thing.layer, thing.j, thing.k);
    return `${t(`quantity_${quantity}`)}: ${exactly(value)}`;
  }
  const [layer, place] = thing.kind === "input" ? [0, thing.k] : [thing.layer, thing.j];
  const value = unitShows(step, layer, place);
  const letter = { a: layer ? "a" : "x", delta: "δ", after: layer ? "a" : "x" }[
    unitQuantity(step, layer)
  ];
  return value === null ? t("not_yet") : `${letter} = ${exactly(value)}`;
}

/** The name of a thing. */
function thingName({ kind, layer, j, k }) {
  if (kind === "input") return unitName(0, k);
  if (kind === "neuron") return unitName(layer, j);
  if (kind === "bias") return t("bias_of", { neuron: unitName(layer, j) });
  return t("weight_from_to", { from: unitName(layer - 1, k), to: unitName(layer, j) });
}

function showTip(event) {
  const tip = document.getElementById("tip");
  const thing = thingAt(event);
  drawn.root.style.cursor = thing ? "pointer" : "";
  tip.hidden = thing === null;
  if (thing === null) return;
  tip.replaceChildren(h("span", {}, thingName(thing)), h("strong", {}, signed(exactText(thing))));
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, room))}px`;
  tip.style.top = `${event.clientY + 18}px`;
}

const hideTip = () => (document.getElementById("tip").hidden = true);

function listen(root) {
  root.addEventListener("pointermove", showTip);
  root.addEventListener("pointerleave", hideTip);
  root.addEventListener("click", (event) => {
    const thing = thingAt(event);
    if (thing) choose(thing);
  });
  root.addEventListener("keydown", (event) => {
    if (event.target === drawn.grid?.group) return imageKey(event);
    const place = event.target.closest("[data-unit]")?.dataset.unit;
    if (place) unitKey(event, ...place.split(" ").map(Number));
  });
  drawn.grid?.group.addEventListener("focus", () => movePixel(state.roving[0] ?? 0));
  drawn.grid?.group.addEventListener("blur", () => updateImage(currentStep()));
}

/** Up and down move within a layer; left and right are for the steps. */
function unitKey(event, layer, place) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(unitThing(layer, place));
  }
  const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!move) return;
  event.preventDefault();
  const next = Math.min(Math.max(place + move, 0), SHOWN[layer].length - 1);
  state.roving[layer] = next;
  updateChosen();
  drawn.units[layer][next].element.focus();
}

function imageKey(event) {
  if (event.key.startsWith("Arrow")) {
    event.preventDefault();
    event.stopPropagation();
    movePixel(neighbour(state.roving[0] ?? 0, event.key));
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(unitThing(0, state.roving[0] ?? 0));
  }
}

function movePixel(place) {
  state.roving[0] = place;
  drawn.grid.pointAt(place);
  say(`${unitName(0, place)}, x = ${rounded(current().input[place])}`);
}

/** Announce a text to screen readers. */
function say(text) {
  document.getElementById("said").textContent = text;
}
