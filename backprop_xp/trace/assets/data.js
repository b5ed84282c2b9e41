// The trace: the unpacked numbers of one training step, and functions that look them up.
//
// A unit is (layer, place): layer 0 is the inputs, and place counts the units that are shown.

const DEPTH = DATA.layers.length;
const SIZES = DATA.network.sizes;
const SHOWN = DATA.shown;
const IMAGE = DATA.network.image_shape; // [height, width], or null

function unpackParameters(packed, layer) {
  const count = SHOWN[layer].length * SHOWN[layer - 1].length;
  return {
    weights: floats(packed.weights) ?? new Float64Array(count), // left out where all are 0
    bias: floats(packed.bias),
  };
}

const LAYERS = DATA.layers.map((layer, place) => ({
  ...layer,
  curve: layer.curve && {
    reach: layer.curve.reach,
    function: floats(layer.curve.function, false),
    slope: floats(layer.curve.slope, false),
  },
  old: unpackParameters(layer.old, place + 1),
  gradient: unpackParameters(layer.gradient, place + 1),
  new: unpackParameters(layer.new, place + 1),
  slots: layer.slots.map((slot) => ({
    name: slot.name,
    before: unpackParameters(slot.before, place + 1),
    after: unpackParameters(slot.after, place + 1),
  })),
}));

const unpackUnits = (units) =>
  Object.fromEntries(Object.entries(units).map(([name, values]) => [name, floats(values)]));

const SAMPLES = DATA.samples.map((sample) => ({
  ...sample,
  target: floats(sample.target),
  input: floats(sample.input),
  layers: sample.layers.map(unpackUnits),
  after: sample.after.layers.map(unpackUnits),
}));

const HAS_BIAS = DATA.network.bias;
const hiddenUnits = (layer) => SIZES[layer] - SHOWN[layer].length;

/** What the page currently shows; everything is drawn from this. */
const state = {
  step: 0,
  sample: 0,
  chosen: null, // {kind: "neuron" | "weight" | "bias" | "input", layer, j, k}
  roving: [], // for each layer the place that the tab key moves to
  focus: [], // for each layer the place of the neuron used in formulas with numbers
  language: "en",
  full: false, // every digit
  playing: false,
};

const current = () => SAMPLES[state.sample];

/** A quantity of a unit: "z", "a", "incoming", "slope", "delta"; null where there is none. */
function unit(quantity, layer, place, sample = current()) {
  if (layer === 0) return quantity === "a" ? sample.input[place] : null;
  const values = sample.layers[layer - 1][quantity];
  return values === null ? null : values[place];
}

const unitAfter = (quantity, layer, place) =>
  layer === 0 ? current().input[place] : current().after[layer - 1][quantity][place];

/** A weight into neuron j of a layer from unit k below; of "old", "gradient", "new" or a slot. */
function weight(record, layer, j, k) {
  return record.weights[j * SHOWN[layer - 1].length + k];
}

/** One parameter: the bias of neuron j where k is null, else a weight. */
function parameter(record, layer, j, k) {
  return k === null ? record.bias[j] : weight(record, layer, j, k);
}

/** New minus old, in the precision of the network. */
function change(layer, j, k) {
  const { old, new: after } = LAYERS[layer - 1];
  const difference = parameter(after, layer, j, k) - parameter(old, layer, j, k);
  return SINGLE ? Math.fround(difference) : difference;
}

/** The value that a line of the drawing shows. */
function lineValue(quantity, layer, j, k) {
  if (quantity === "change") return change(layer, j, k);
  return parameter(LAYERS[layer - 1][quantity], layer, j, k);
}

/** The products w·a in the sum of a neuron, with the total and the number of hidden terms. */
function sumTerms(layer, j) {
  const record = LAYERS[layer - 1].old;
  const terms = SHOWN[layer - 1].map((_, k) => {
    const w = weight(record, layer, j, k);
    const a = unit("a", layer - 1, k);
    return { layer: layer - 1, place: k, w, x: a, product: w * a, edge: { layer, j, k } };
  });
  const bias = HAS_BIAS ? record.bias[j] : 0;
  return { terms, total: unit("z", layer, j) - bias, left: hiddenUnits(layer - 1) };
}

/** The products w·δ that carry the error of the layer above to a hidden neuron. */
function errorTerms(layer, k) {
  const record = LAYERS[layer].old;
  const terms = SHOWN[layer + 1].map((_, j) => {
    const w = weight(record, layer + 1, j, k);
    const delta = unit("delta", layer + 1, j);
    const edge = { layer: layer + 1, j, k };
    return { layer: layer + 1, place: j, w, x: delta, product: w * delta, edge };
  });
  return { terms, total: unit("incoming", layer, k), left: hiddenUnits(layer + 1) };
}

/** The largest terms, and the number and the sum of the others; all in order if there are few. */
function cutTerms({ terms, total, left }, most) {
  let kept = terms;
  if (terms.length > most) {
    const bySize = [...terms].sort((p, q) => Math.abs(q.product) - Math.abs(p.product));
    kept = bySize.slice(0, most);
  }
  const rest = kept.reduce((sum, term) => sum - term.product, total);
  return { kept, others: terms.length - kept.length + left, rest };
}
