// A neuron's activation and its derivative as curves, with the neuron's own z marked.

const CURVE = { width: 176, height: 118, left: 34, right: 8, top: 10, bottom: 20 };

function plot(points, reach, z, value, label) {
  const finite = [...points, value, 0].filter(Number.isFinite);
  const low = Math.min(...finite);
  const high = Math.max(...finite);
  const { width, height, left, right, top, bottom } = CURVE;
  const x = (at) => left + ((at + reach) / (2 * reach)) * (width - left - right);
  const y = (at) => top + ((high - at) / (high - low || 1)) * (height - top - bottom);
  const along = (i) => x(-reach + (2 * reach * i) / (points.length - 1));
  const path = [...points]
    .map((point, i) => `${i ? "L" : "M"}${along(i).toFixed(1)} ${y(point).toFixed(1)}`)
    .join("");
  const tick = (text, attributes) => svg("text", attributes, signed(text));
  const marked = Number.isFinite(z) && Number.isFinite(value);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "curve" },
    svg("line", { class: "axis", x1: left, x2: width - right, y1: y(0), y2: y(0) }),
    svg("line", { class: "axis", x1: x(0), x2: x(0), y1: top, y2: height - bottom }),
    svg("path", { d: path }),
    marked && [
      svg("line", { class: "guide", x1: x(z), x2: x(z), y1: y(0), y2: y(value) }),
      svg("line", { class: "guide", x1: x(0), x2: x(z), y1: y(value), y2: y(value) }),
      svg("circle", { cx: x(z), cy: y(value), r: 4 }),
    ],
    tick(rounded(high, 2), { x: left - 5, y: y(high) + 4, "text-anchor": "end" }),
    tick(rounded(low, 2), { x: left - 5, y: y(low) + 4, "text-anchor": "end" }),
    tick(rounded(-reach, 2), { x: left, y: height - 5, "text-anchor": "start" }),
    tick(rounded(reach, 2), { x: width - right, y: height - 5, "text-anchor": "end" }),
  );
}

/** Both curves of a layer at a neuron's z, or the reason why there are none. */
function curves(layer, place) {
  const { curve, formula: f, derivative, activation } = LAYERS[layer - 1];
  const z = unit("z", layer, place);
  const a = unit("a", layer, place);
  if (curve === null) {
    return h(
      "div",
      {},
      formula(name.unit("a", layer, place), " = ", typeset(f)),
      h("p", {}, t("no_curve", { activation })),
      line("z = ", number(z), ",  a = ", number(a)),
    );
  }
  const slope = unit("slope", layer, place);
  const figure = (points, value, symbolText, text) =>
    h(
      "figure",
      {},
      plot(
        points,
        curve.reach,
        z,
        value,
        t("curve_label", { function: symbolText, z: rounded(z), value: rounded(value) }),
      ),
      h(
        "figcaption",
        {},
        h("i", {}, symbolText),
        " = ",
        h("span", { class: "math" }, typeset(text)),
      ),
    );
  return h(
    "div",
    {},
    h(
      "div",
      { class: "curves" },
      figure(curve.function, a, "f(z)", f || activation),
      slope !== null && figure(curve.slope, slope, "f′(z)", derivative),
    ),
    line("f(", number(z), ") = ", number(a)),
    slope !== null && line("f′(", number(z), ") = ", number(slope)),
  );
}
