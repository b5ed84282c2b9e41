// The equations of each step, as MathML.

const mo = (text) => m("mo", text);
const sigma = (index) => m("munder", mo("∑"), m("mi", index));
const partial = (letter, below) =>
  m("mfrac", m("mrow", mo("∂"), m("mi", "L")), m("mrow", mo("∂"), below ?? m("mi", letter)));
const slopeOf = (layer, index) =>
  m("mrow", m("msup", m("mi", "f"), mo("′")), mo("("), symbol("z", layer, index), mo(")"));

function display(...parts) {
  const math = m("math", m("mrow", ...parts));
  math.setAttribute("display", "block");
  return h("div", { class: "equation" }, math);
}

/** A formula that the registries of the package hold as text. */
const formula = (...parts) => h("p", { class: "formula" }, ...parts);

const activationFormula = (layer) =>
  formula(
    h("i", {}, "f"),
    "(z) = ",
    typeset(LAYERS[layer - 1].formula || LAYERS[layer - 1].activation),
  );

const sumEquation = (layer) =>
  display(
    symbol("z", layer, "j"),
    mo("="),
    sigma("k"),
    symbol("w", layer, ["j", "k"]),
    symbol("a", layer - 1, "k"),
    ...(HAS_BIAS ? [mo("+"), symbol("b", layer, "j")] : []),
  );

const outputEquation = (layer) =>
  display(
    symbol("a", layer, "j"),
    mo("="),
    m("mi", "f"),
    mo("("),
    symbol("z", layer, "j"),
    mo(")"),
  );

const lossEquation = () =>
  h("div", {}, formula(h("i", {}, "L"), " = ", typeset(DATA.loss.formula)), batchNote("loss_mean"));

function errorEquation(layer) {
  if (layer < DEPTH) {
    return display(
      symbol("δ", layer, "k"),
      mo("="),
      mo("("),
      sigma("j"),
      symbol("w", layer + 1, ["j", "k"]),
      symbol("δ", layer + 1, "j"),
      mo(")"),
      mo("·"),
      slopeOf(layer, "k"),
    );
  }
  const product = display(
    symbol("δ", layer, "j"),
    mo("="),
    partial("z", symbol("z", layer, "j")),
    mo("="),
    partial("a", symbol("a", layer, "j")),
    mo("·"),
    slopeOf(layer, "j"),
  );
  if (DATA.fused === null) return product;
  const fused = formula(typeset(DATA.fused));
  return isElementwise(layer)
    ? [product, h("p", {}, t("fused_same")), fused]
    : [fused, h("p", {}, t("fused_only", { activation: LAYERS[layer - 1].activation }))];
}

const isElementwise = (layer) => LAYERS[layer - 1].curve !== null;

function gradientEquation(layer) {
  const overSamples = SAMPLES.length > 1 ? [sigma("s")] : [];
  const weights = [
    partial("w", symbol("w", layer, ["j", "k"])),
    mo("="),
    ...overSamples,
    symbol("δ", layer, "j"),
    symbol("a", layer - 1, "k"),
    ...penaltyTerms(() => symbol("w", layer, ["j", "k"])),
  ];
  const bias = [
    partial("b", symbol("b", layer, "j")),
    mo("="),
    ...overSamples.map((sum) => sum.cloneNode(true)),
    symbol("δ", layer, "j"),
    ...(DATA.penalty?.biases ? penaltyTerms(() => symbol("b", layer, "j")) : []),
  ];
  return [display(...weights), ...(HAS_BIAS ? [display(...bias)] : [])];
}

/** The terms that a penalty adds to the gradient of a parameter. */
function penaltyTerms(parameter) {
  if (DATA.penalty === null) return [];
  const rate = (value) => [mo("+"), m("mn", signed(rounded(value))), mo("·")];
  const { l1, l2 } = DATA.penalty;
  return [
    ...(l2 ? [...rate(l2), parameter()] : []),
    ...(l1 ? [...rate(l1), m("mi", "sign"), mo("("), parameter(), mo(")")] : []),
  ];
}

function updateEquation() {
  const { formula: rule, learning_rate: eta, hyperparameters, letters } = DATA.optimizer;
  const values = Object.entries(hyperparameters).map(([key, value]) => [
    `, ${letters[key] ?? key} = `,
    number(value),
  ]);
  return [
    ...rule.split(", ").map((line) => formula(typeset(line))),
    h("p", { class: "settings" }, "η = ", number(eta), values),
  ];
}

const batchNote = (key) =>
  SAMPLES.length > 1 ? h("p", {}, t(key, { samples: SAMPLES.length })) : null;

function equations(step) {
  switch (step.kind) {
    case "forward":
      return [sumEquation(step.layer), outputEquation(step.layer), activationFormula(step.layer)];
    case "loss":
      return [lossEquation()];
    case "error":
      return [errorEquation(step.layer)].flat();
    case "gradient":
      return [...gradientEquation(step.layer), batchNote("gradient_sum")];
    case "update":
      return updateEquation();
    default:
      return [];
  }
}
