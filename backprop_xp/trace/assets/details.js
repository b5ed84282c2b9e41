// The details of a selected neuron, weight, bias or input: how its numbers are computed.

const MOST_ROWS = 10;
const uncut = new Set(); // tables expanded to all rows, until another thing is selected

function renderDetails() {
  const { chosen } = state;
  const content =
    chosen === null
      ? [h("h2", { id: "details-title" }, t("details")), h("p", {}, t("details_hint"))]
      : [
          detailsHead(chosen),
          ...{
            neuron: neuronDetails,
            weight: weightDetails,
            bias: weightDetails,
            input: inputDetails,
          }[chosen.kind](chosen),
        ];
  document.getElementById("details").replaceChildren(...content.flat(Infinity).filter(Boolean));
}

const detailsHead = (chosen) =>
  h(
    "div",
    { class: "card-head" },
    h("h2", { id: "details-title" }, thingName(chosen)),
    h(
      "button",
      { type: "button", class: "close", "aria-label": t("close"), onclick: () => choose(null) },
      "×",
    ),
  );

const part = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);

/** A button that shows all rows of a table and keeps the focus nearby. */
const showAllButton = (key) =>
  moreButton(() => {
    uncut.add(key);
    renderDetails();
    document.getElementById("details").focus();
  });

/** A table of the products w·x of a sum: the largest if there are many. */
function sumTable(key, sum, letters, extra, total, caption) {
  const { kept, others, rest } = cutTerms(sum, uncut.has(key) ? Infinity : MOST_ROWS);
  const rows = kept.map((term) =>
    row(
      shortName(term.layer, term.place),
      weightButton(term.edge, term.w),
      number(term.x),
      number(term.product),
    ),
  );
  if (others) rows.push(othersRow(othersText(others), number(rest)));
  return [
    table(
      [letters[0], letters[1], letters[2], `${letters[1]}·${letters[2]}`],
      [...rows, ...extra, totalRow(total[0], number(total[1]))],
      caption,
    ),
    sum.terms.length > kept.length && showAllButton(key),
  ];
}

function neuronDetails({ layer, j }) {
  const { bias: biases } = LAYERS[layer - 1].old;
  const opened = { kind: "bias", layer, j, k: null };
  const bias = HAS_BIAS
    ? [row(t("bias"), openButton(opened, biases[j]), "", number(biases[j]))]
    : [];
  const from = layer === 1 && IMAGE ? t("row_column") : layer === 1 ? t("input") : t("from");
  return [
    part(
      t("part_sum"),
      sumEquation(layer),
      sumTable(
        "sum",
        sumTerms(layer, j),
        [from, "w", layer === 1 ? "x" : "a"],
        bias,
        ["z", unit("z", layer, j)],
        t("part_sum"),
      ),
    ),
    part(t("part_activation"), curves(layer, j)),
    part(t("part_error"), errorDetails(layer, j)),
    part(
      t("part_after"),
      line("z: ", number(unit("z", layer, j)), " → ", number(unitAfter("z", layer, j))),
      line("a: ", number(unit("a", layer, j)), " → ", number(unitAfter("a", layer, j))),
    ),
  ];
}

function errorDetails(layer, j) {
  const incoming = unit("incoming", layer, j);
  const delta = number(unit("delta", layer, j));
  if (incoming === null) {
    return [errorEquation(layer), ...errorNumbersOf(layer, j)];
  }
  const terms =
    layer < DEPTH
      ? sumTable(
          "error",
          errorTerms(layer, j),
          [t("to"), "w", "δ"],
          [],
          [t("incoming"), incoming],
          t("part_error"),
        )
      : [line("∂L/∂", name.unit("a", layer, j), " = ", number(incoming))];
  return [
    errorEquation(layer),
    terms,
    line(
      name.unit("δ", layer, j),
      " = ",
      factor(incoming),
      "·",
      number(unit("slope", layer, j)),
      " = ",
      delta,
    ),
  ];
}

/** The numbers of an error that has no factors. */
const errorNumbersOf = (layer, j) => [
  line(
    "a = ",
    number(unit("a", layer, j)),
    layer === DEPTH && [",  y = ", number(current().target[j])],
  ),
  line(name.unit("δ", layer, j), " = ", number(unit("delta", layer, j))),
];

// --- a weight or a bias -------------------------------------------------------------------------

function weightDetails({ layer, j, k }) {
  const record = LAYERS[layer - 1];
  return [
    part(t("part_gradient"), gradientDetails(layer, j, k)),
    part(
      t("part_update"),
      updateEquation(),
      record.slots.length > 0 &&
        table(
          [t("slot"), t("before"), t("after")],
          record.slots.map((slot) =>
            row(
              slot.name,
              number(parameter(slot.before, layer, j, k)),
              number(parameter(slot.after, layer, j, k)),
            ),
          ),
          t("slot"),
        ),
      line(changeLine(layer, j, k)),
      h(
        "dl",
        { class: "oldnew" },
        h(
          "div",
          {},
          h("dt", {}, t("old")),
          h("dd", {}, number(parameter(record.old, layer, j, k))),
        ),
        h("div", {}, h("dt", {}, t("change")), h("dd", {}, number(change(layer, j, k)))),
        h(
          "div",
          {},
          h("dt", {}, t("new")),
          h("dd", {}, number(parameter(record.new, layer, j, k))),
        ),
      ),
    ),
  ];
}

function gradientDetails(layer, j, k) {
  const gradient = parameter(LAYERS[layer - 1].gradient, layer, j, k);
  const left =
    k === null
      ? [derivativeName(layer, j, k), " = ", name.unit("δ", layer, j)]
      : [
          derivativeName(layer, j, k),
          " = ",
          name.unit("δ", layer, j),
          " · ",
          name.unit("a", layer - 1, k),
        ];
  if (SAMPLES.length === 1 && !isPenalized(k)) {
    const product =
      k === null
        ? []
        : [number(unit("delta", layer, j)), " · ", factor(unit("a", layer - 1, k)), " = "];
    return [line(left), line("= ", product, number(gradient))];
  }
  const rows = SAMPLES.map((sample, place) =>
    row(
      String(place + 1),
      number(unit("delta", layer, j, sample)),
      ...(k === null
        ? []
        : [
            number(unit("a", layer - 1, k, sample)),
            number(gradientTerm(layer, j, k, sample)),
          ]),
    ),
  );
  if (isPenalized(k)) rows.push(othersRow(t("penalty_term"), number(penaltyShare(layer, j, k))));
  rows.push(totalRow(t("sum"), number(gradient)));
  const heads = k === null ? [t("sample"), "δ"] : [t("sample"), "δ", "a", "δ·a"];
  return [
    line(left, SAMPLES.length > 1 && t("over_samples"), isPenalized(k) && penaltyText(layer, j, k)),
    table(heads, rows, t("part_gradient")),
  ];
}

/** The terms of a penalty, with its coefficients as numbers. */
function penaltyText(layer, j, k) {
  const { l1, l2 } = DATA.penalty;
  const p = () => (k === null ? name.unit("b", layer, j) : name.weight(layer, j, k));
  return [
    l2 > 0 && [" + ", number(l2), " · ", p()],
    l1 > 0 && [" + ", number(l1), " · sign(", p(), ")"],
  ];
}

// --- an input -----------------------------------------------------------------------------------

function inputDetails({ k }) {
  const weights = SHOWN[1].map((_, j) => ({ j, w: weight(LAYERS[0].old, 1, j, k) }));
  const all = uncut.has("input") || weights.length <= MOST_ROWS;
  const kept = all
    ? weights
    : [...weights].sort((p, q) => Math.abs(q.w) - Math.abs(p.w)).slice(0, MOST_ROWS);
  return [
    line(name.input(k), " = ", number(current().input[k])),
    part(
      t("part_weights_out"),
      table(
        [t("to"), "w", "∂L/∂w", t("new")],
        kept.map(({ j, w }) =>
          row(
            shortName(1, j),
            weightButton({ layer: 1, j, k }, w),
            number(weight(LAYERS[0].gradient, 1, j, k)),
            number(weight(LAYERS[0].new, 1, j, k)),
          ),
        ),
        t("part_weights_out"),
      ),
      kept.length < weights.length && showAllButton("input"),
    ),
  ];
}
