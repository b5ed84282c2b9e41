// Building the page: elements are made from text and numbers only, so that data is never markup.

const namespaces = document.getElementById("namespaces").content;
const SVG = namespaces.querySelector("svg").namespaceURI;
const MATH = namespaces.querySelector("math").namespaceURI;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === ""));
  return element;
}

const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const m = (tag, ...children) => fill(document.createElementNS(MATH, tag), {}, children);

/** A text of the page in the current language, with {names} replaced. */
function t(key, values = {}) {
  return TEXTS[state.language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A number: rounded, with every digit on hover, or with every digit if that is switched on. */
function number(x) {
  if (x === null) return h("span", {}, "–");
  const exact = exactly(x);
  if (exact === "NaN") return h("data", { class: "num", value: "NaN" }, t("not_finite"));
  const text = state.full ? exact : rounded(x);
  return h("data", { class: "num", value: exact, title: exact }, signed(text));
}

/** A number in a formula; a negative one is in parentheses. */
const factor = (x) => (x < 0 ? ["(", number(x), ")"] : number(x));

/** A formula given as plain text; z_i and Σ_j become symbols with an index. */
function typeset(text) {
  const parts = signed(text).split(/((?<![\p{L}_])[\p{L}Σ]_[\p{L}]+)/u);
  return parts.map((part, place) => {
    if (place % 2 === 0) return part;
    const [letter, index] = part.split("_");
    return h("span", { class: "indexed" }, letter, h("sub", {}, index));
  });
}

/** A symbol as MathML within a line of text. */
const inline = (symbol) => m("math", symbol);

function symbol(letter, layer = null, index = null) {
  const name = m("mi", letter);
  const above = () => m("mrow", m("mo", "("), m("mn", String(layer)), m("mo", ")"));
  const below = () => m("mrow", ...[index].flat().map((part) => indexPart(part)));
  if (layer !== null && index !== null) return m("msubsup", name, below(), above());
  if (layer !== null) return m("msup", name, above());
  return index !== null ? m("msub", name, below()) : name;
}

const indexPart = (part) =>
  /^\d/.test(part) ? m("mn", part) : part === "," ? m("mo", ",") : m("mi", part);

/** The two indices of a weight, with a comma only if they could be misread. */
function pair(j, k) {
  return j > 9 || k > 9 ? [String(j), ",", String(k)] : [`${j}${k}`];
}

const count = (layer, place) => SHOWN[layer][place] + 1; // people count from 1

const name = {
  weight: (layer, j, k) => inline(symbol("w", layer, pair(count(layer, j), count(layer - 1, k)))),
  unit: (letter, layer, place) => inline(symbol(letter, layer, String(count(layer, place)))),
  input: (place) => inline(symbol("x", null, String(count(0, place)))),
  target: (place) => inline(symbol("y", null, String(count(DEPTH, place)))),
};

/** The name of a unit: its feature, pixel or class, or its number. */
function unitName(layer, place) {
  const given = unitLabel(layer, place);
  if (layer === 0) {
    if (IMAGE) {
      const [row, column] = pixelPlace(place);
      return t("pixel", { row, column });
    }
    return given === null
      ? t("input_number", { number: count(0, place) })
      : t("input_named", { number: count(0, place), name: given });
  }
  const values = { layer, number: count(layer, place), name: given };
  return given === null ? t("neuron_number", values) : t("neuron_named", values);
}

/** The name of a unit in the data, or null. */
function unitLabel(layer, place) {
  const { features, classes } = DATA.network;
  if (layer === 0) return features?.[place] ?? null;
  return layer === DEPTH ? (classes?.[place] ?? null) : null;
}

/** Row and column of a pixel, counted from 1. */
function pixelPlace(place) {
  const width = IMAGE[1];
  return [Math.floor(SHOWN[0][place] / width) + 1, (SHOWN[0][place] % width) + 1];
}
