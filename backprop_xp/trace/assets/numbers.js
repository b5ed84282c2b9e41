// The equation of each step with its numbers, for one neuron or one weight.

const MOST_TERMS = 6;
const FEW_TERMS = 3; // shown of a longer sum

/** The neuron of a layer that is used as the example: the selected one, or else the first. */
function focusOf(layer) {
  if (state.focus[layer] !== undefined) return state.focus[layer];
  if (SHOWN[layer].length <= 12) return 0;
  // In a large layer the first may be dead, so the one with the largest error is used.
  return largestPlace(SHOWN[layer].map((_, place) => unit("delta", layer, place)));
}

function largestPlace(values) {
  let best = 0;
  values.forEach((value, place) => {
    if (Math.abs(value) > Math.abs(values[best])) best = place;
  });
  return best;
}

/** Products joined by plus signs; if there are many, the largest and the sum of the others. */
function products(sum) {
  const many = sum.terms.length + sum.left > MOST_TERMS;
  const { kept, others, rest } = cutTerms(sum, many ? FEW_TERMS : MOST_TERMS);
  const parts = kept.map(({ w, x }, place) => [place ? " + " : "", factor(w), "·", factor(x)]);
  if (others)
    parts.push(" + ", h("span", { class: "others" }, othersText(others), " ", number(rest)));
  return parts;
}

const othersText = (others) => t(others === 1 ? "other_one" : "others", { count: others });

function forwardNumbers(layer) {
  const j = focusOf(layer);
  const sum = sumTerms(layer, j);
  return [
    line(
      name.unit("z", layer, j),
      " = ",
      products(sum),
      HAS_BIAS && [" + ", factor(LAYERS[layer - 1].old.bias[j])],
      " = ",
      number(unit("z", layer, j)),
    ),
    line(
      name.unit("a", layer, j),
      " = ",
      h("i", {}, "f"),
      isElementwise(layer) ? ["(", number(unit("z", layer, j)), ")"] : t("of_all_z"),
      " = ",
      number(unit("a", layer, j)),
    ),
  ];
}

function lossNumbers() {
  const outputs = SHOWN[DEPTH].map((_, place) => place);
  const target = current().target;
  // Among many classes, the target and the largest outputs matter.
  const telling = (j) => Math.max(Math.abs(target[j]), Math.abs(unit("a", DEPTH, j)));
  const kept =
    outputs.length > 4 ? outputs.sort((i, j) => telling(j) - telling(i)).slice(0, 3) : outputs;
  const rows = kept.map((j) =>
    line(
      name.unit("a", DEPTH, j),
      " = ",
      number(unit("a", DEPTH, j)),
      ",  ",
      name.target(j),
      " = ",
      number(target[j]),
      unitLabel(DEPTH, j) !== null && h("span", { class: "aside" }, ` ${unitLabel(DEPTH, j)}`),
    ),
  );
  const rest = SIZES[DEPTH] - kept.length;
  if (rest) rows.push(h("p", { class: "aside" }, t("in_the_table", { count: rest })));
  rows.push(line(h("i", {}, "L"), " = ", number(current().loss_before)));
  return [...rows, ...wholeLoss("loss_before")];
}

/** The loss of the batch, if it differs from that of a single sample. */
function wholeLoss(which) {
  const same = SAMPLES.length === 1 && DATA[which] === current()[which];
  return same
    ? []
    : [line(t(DATA.penalty ? "whole_loss_penalty" : "whole_loss"), " ", number(DATA[which]))];
}

function errorNumbers(layer) {
  const j = focusOf(layer);
  const incoming = unit("incoming", layer, j);
  const result = [" = ", number(unit("delta", layer, j))];
  if (incoming === null) {
    const parts = [name.unit("a", layer, j), " = ", number(unit("a", layer, j))];
    if (layer === DEPTH) {
      parts.push(",  ", name.target(j), " = ", number(current().target[j]));
    }
    return [line(parts), line(name.unit("δ", layer, j), result)];
  }
  const slope = number(unit("slope", layer, j));
  if (layer === DEPTH) {
    return [line(name.unit("δ", layer, j), " = ", factor(incoming), "·", slope, result)];
  }
  return [
    line(
      name.unit("δ", layer, j),
      " = (",
      products(errorTerms(layer, j)),
      ")·",
      slope,
      " = ",
      factor(incoming),
      "·",
      slope.cloneNode(true),
      result,
    ),
  ];
}

/** The weight that is used as the example: the selected one, or that of the largest gradient. */
function tellingWeight(layer) {
  const { chosen } = state;
  if (chosen?.kind === "weight" && chosen.layer === layer) return [chosen.j, chosen.k];
  const j = focusOf(layer);
  const gradients = SHOWN[layer - 1].map((_, k) => weight(LAYERS[layer - 1].gradient, layer, j, k));
  return [j, largestPlace(gradients)];
}

function gradientNumbers(layer) {
  const [j, k] = tellingWeight(layer);
  const parts = SAMPLES.map((sample, place) => [
    place ? " + " : "",
    factor(unit("delta", layer, j, sample)),
    "·",
    factor(unit("a", layer - 1, k, sample)),
  ]);
  if (parts.length > MOST_TERMS) parts.splice(MOST_TERMS, parts.length, " + …");
  if (DATA.penalty) parts.push(" + ", factor(penaltyShare(layer, j, k)));
  const gradient = weight(LAYERS[layer - 1].gradient, layer, j, k);
  return [line(derivativeName(layer, j, k), " = ", parts, " = ", number(gradient))];
}

const derivativeName = (layer, j, k) =>
  h("span", {}, "∂L/∂", k === null ? name.unit("b", layer, j) : name.weight(layer, j, k));

/** Whether a penalty applies to a parameter: the bias of a neuron if k is null. */
const isPenalized = (k) => DATA.penalty !== null && (k !== null || DATA.penalty.biases);

/** The term that a penalty adds to a gradient. */
function penaltyShare(layer, j, k) {
  const p = parameter(LAYERS[layer - 1].old, layer, j, k);
  return DATA.penalty.l2 * p + DATA.penalty.l1 * Math.sign(p);
}

const gradientTerm = (layer, j, k, sample) =>
  unit("delta", layer, j, sample) * (k === null ? 1 : unit("a", layer - 1, k, sample));

function updateNumbers(layer) {
  const [j, k] = tellingWeight(layer);
  return [line(name.weight(layer, j, k), ": ", changeLine(layer, j, k))];
}

/** Old, change and new of a parameter; the rule of gradient descent is short enough to show. */
function changeLine(layer, j, k) {
  const record = LAYERS[layer - 1];
  const [old, after] = [record.old, record.new].map((of) => parameter(of, layer, j, k));
  if (DATA.optimizer.name === "sgd") {
    const gradient = parameter(record.gradient, layer, j, k);
    return [
      number(old),
      " − ",
      number(DATA.optimizer.learning_rate),
      "·",
      factor(gradient),
      " = ",
      number(after),
    ];
  }
  return [number(old), " + ", factor(change(layer, j, k)), " = ", number(after)];
}

function againNumbers() {
  const { loss_before: before, loss_after: after } = current();
  const rows = [line(h("i", {}, "L"), ": ", number(before), " → ", number(after))];
  if (SAMPLES.length > 1 || DATA.penalty) {
    const key = DATA.penalty ? "whole_loss_penalty" : "whole_loss";
    rows.push(line(t(key), " ", number(DATA.loss_before), " → ", number(DATA.loss_after)));
  }
  const fell = DATA.loss_after < DATA.loss_before;
  return [...rows, h("p", {}, t(fell ? "loss_fell" : "loss_rose"))];
}

function startNumbers() {
  const { sizes, activations, parameters } = DATA.network;
  return [
    line(
      t("network_line", {
        sizes: sizes.join("-"),
        parameters: parameters.toLocaleString("en"),
        activations: [...new Set(activations)].join(", "),
      }),
    ),
  ];
}

const line = (...parts) => h("p", { class: "line" }, ...parts);

function numbers(step) {
  return {
    start: startNumbers,
    forward: forwardNumbers,
    loss: lossNumbers,
    error: errorNumbers,
    gradient: gradientNumbers,
    update: updateNumbers,
    again: againNumbers,
  }[step.kind](step.layer);
}
