// The steps: their order, and what the drawing shows in each.

const STEPS = [{ kind: "start", phase: "start" }];
for (let layer = 1; layer <= DEPTH; layer++)
  STEPS.push({ kind: "forward", phase: "forward", layer });
STEPS.push({ kind: "loss", phase: "loss", layer: DEPTH });
for (let layer = DEPTH; layer >= 1; layer--) {
  STEPS.push({ kind: "error", phase: "backward", layer });
  STEPS.push({ kind: "gradient", phase: "backward", layer });
}
STEPS.push({ kind: "update", phase: "update", layer: DEPTH });
STEPS.push({ kind: "again", phase: "again", layer: DEPTH });

const PHASES = ["start", "forward", "loss", "backward", "update", "again"];

const currentStep = () => STEPS[state.step];

/** The title of a step; the error at the output has its own, since it comes from the loss. */
function stepTitle(step) {
  const key =
    step.kind === "error" && step.layer === DEPTH ? "step_error_output" : `step_${step.kind}`;
  return t(key, { layer: step.layer });
}

/** The quantity that the circles of a layer show: "a", "delta", "after", or null if not yet known. */
function unitQuantity(step, layer) {
  switch (step.kind) {
    case "start":
      return layer === 0 ? "a" : null;
    case "forward":
      return layer <= step.layer ? "a" : null;
    case "error":
    case "gradient":
      return layer >= step.layer ? "delta" : "a";
    case "again":
      return "after";
    default:
      return "a";
  }
}

/** Whether a step highlights the units of a layer. */
function unitsAreLit(step, layer) {
  switch (step.kind) {
    case "start":
      return layer === 0;
    case "forward":
    case "gradient":
      return layer === step.layer || layer === step.layer - 1;
    case "loss":
      return layer === DEPTH;
    case "error":
      return layer === step.layer || layer === step.layer + 1;
    default:
      return true;
  }
}

function unitShows(step, layer, place) {
  const quantity = unitQuantity(step, layer);
  if (quantity === null) return null;
  return quantity === "after" ? unitAfter("a", layer, place) : unit(quantity, layer, place);
}

/** The quantity that the lines show. */
function lineQuantity(step) {
  return { gradient: "gradient", update: "change", again: "new" }[step.kind] ?? "old";
}

/** Whether a step highlights the lines into a layer. */
function linesAreLit(step, layer) {
  switch (step.kind) {
    case "forward":
    case "gradient":
      return layer === step.layer;
    case "error":
      return layer === step.layer + 1;
    case "loss":
      return false;
    default:
      return true;
  }
}
