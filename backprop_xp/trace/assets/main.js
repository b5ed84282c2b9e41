// Running the page: selection, steps, the frame around the drawing, and events.

const byId = (id) => document.getElementById(id);
const PACE = 1900; // milliseconds for each step during playback
let player = null;

function choose(thing) {
  const before = state.chosen;
  if (thing === null || JSON.stringify(before) !== JSON.stringify(thing)) uncut.clear();
  state.chosen = thing;
  if (thing?.j !== null && thing?.j !== undefined) state.focus[thing.layer] = thing.j;
  if (thing?.kind === "neuron") state.roving[thing.layer] = thing.j;
  if (thing?.kind === "input") state.roving[0] = thing.k;
  const inDetails = byId("details").contains(document.activeElement);
  renderStep();
  renderDetails();
  updateDrawing();
  if (thing === null) {
    if (inDetails) returnTo(before);
    return;
  }
  say(`${thingName(thing)}. ${exactText(thing)}. ${t("details_shown")}`);
  const details = byId("details");
  if (inDetails) details.focus();
  const box = details.getBoundingClientRect();
  // In a narrow window the details are below, where nobody would see them appear.
  if (box.top > window.innerHeight - 80)
    details.scrollIntoView({ block: "start", behavior: pace() });
}

/** Return the focus to the selected thing in the drawing. */
function returnTo({ kind, layer, j, k }) {
  if (kind === "input" && IMAGE) drawn.grid.group.focus();
  else if (kind === "input") drawn.units[0][k].element.focus();
  else drawn.units[layer][j].element.focus();
}

const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const pace = () => (still.matches ? "auto" : "smooth");

// --- steps --------------------------------------------------------------------------------------

function goTo(place) {
  state.step = Math.min(Math.max(place, 0), STEPS.length - 1);
  renderStep();
  updateDrawing();
}

function renderStep() {
  const step = currentStep();
  const title = stepTitle(step);
  byId("step-title").textContent = title;
  const kind = step.kind === "error" && step.layer === DEPTH ? "error_output" : step.kind;
  const why = h(
    "p",
    { class: "why" },
    t(`why_${kind}`, { layer: step.layer, below: step.layer - 1 }),
  );
  const worked = h("div", { class: "worked" }, numbers(step));
  // During playback a screen reader could not keep up with the steps.
  byId("step-text").setAttribute("aria-live", state.playing ? "off" : "polite");
  byId("step-text").replaceChildren(why, ...equations(step).filter(Boolean), worked);
  byId("legend").replaceChildren(...legend(step));
  const slider = byId("slider");
  slider.value = state.step;
  slider.setAttribute("aria-valuetext", title);
  slider.style.setProperty("--done", `${(100 * state.step) / (STEPS.length - 1)}%`);
  byId("position").textContent = `${state.step + 1} / ${STEPS.length}`;
  byId("back").disabled = state.step === 0;
  byId("forth").disabled = state.step === STEPS.length - 1;
  for (const button of byId("phases").children) {
    if (button.dataset.phase === step.phase) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
}

/** The meaning of circles and lines at this step. */
function legend(step) {
  const quantities = new Set(SHOWN.map((_, layer) => unitQuantity(step, layer)));
  const circles = quantities.has("delta") ? "delta" : quantities.has("after") ? "after" : "a";
  const sample = (sign) => {
    const stroke = svg("line", { x1: 1, x2: 25, y1: 5, y2: 5, class: sign });
    return svg(
      "svg",
      { width: 26, height: 10, class: "sample lines lit", "aria-hidden": "true" },
      stroke,
    );
  };
  return [
    h("span", {}, t(`circles_${circles}`)),
    h("span", {}, t(`lines_${lineQuantity(step)}`)),
    h("span", {}, sample("positive"), t("positive"), " ", sample("negative"), t("negative")),
  ];
}

function play(on) {
  clearInterval(player);
  state.playing = on;
  if (on && state.step === STEPS.length - 1) goTo(0);
  if (on) {
    player = setInterval(() => {
      goTo(state.step + 1);
      if (state.step === STEPS.length - 1) play(false);
    }, PACE);
  }
  byId("play").textContent = on ? "❚❚" : "▶";
  byId("play").setAttribute("aria-label", t(on ? "pause" : "play"));
}

// --- the frame around the drawing ---------------------------------------------------------------

function renderFrame() {
  document.documentElement.lang = state.language;
  document.title = DATA.title ? `${DATA.title} · backprop_xp` : `${t("kind")} · backprop_xp`;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
  byId("title").textContent = DATA.title || DATA.network.sizes.join("-");
  byId("summary").replaceChildren(...summary());
  byId("phases").replaceChildren(...PHASES.map(phaseButton));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", button.dataset.language === state.language);
  }
  byId("digits").setAttribute("aria-pressed", state.full);
  renderTheme();
  play(state.playing);
  const cut = SIZES.map((_, layer) => [layer, hiddenUnits(layer)]).filter(([, left]) => left);
  byId("cut").hidden = cut.length === 0;
  byId("cut").textContent = t("cut", {
    lines: hiddenWeights().toLocaleString("en"),
    units: cut.reduce((sum, [, left]) => sum + left, 0),
  });
  const choice = byId("sample");
  choice.replaceChildren(
    ...SAMPLES.map((sample, place) => h("option", { value: place }, sampleName(sample, place))),
  );
  choice.value = state.sample;
  byId("sample-choice").hidden = SAMPLES.length === 1;
}

const hiddenWeights = () =>
  LAYERS.reduce(
    (sum, _, place) =>
      sum + SIZES[place] * SIZES[place + 1] - SHOWN[place].length * SHOWN[place + 1].length,
    0,
  );

/** The number of a sample, with its class or its values. */
function sampleName(sample, place) {
  if (sample.label !== null) return `${place + 1}: ${sample.label}`;
  if (sample.input.length > 4) return String(place + 1);
  const list = (values) => [...values].map((value) => signed(rounded(value, 3))).join(", ");
  return `${place + 1}: (${list(sample.input)}) → ${list(sample.target)}`;
}

function summary() {
  const { label, predicted } = current();
  const { loss, optimizer, source } = DATA;
  const facts = [
    [...new Set(DATA.network.activations)].join(" + "),
    loss.name.replaceAll("_", " "),
    [optimizer.name, " η = ", number(optimizer.learning_rate)],
  ];
  const lines = [h("span", {}, SIZES.join("-")), ...facts.map((fact) => h("span", {}, fact))];
  if (label !== null && predicted !== null)
    lines.push(h("span", {}, t("taken_for", { label, predicted })));
  if (source.left_out?.length)
    lines.push(h("span", {}, t("left_out", { names: source.left_out.join(", ") })));
  return lines;
}

function phaseButton(phase) {
  const first = STEPS.findIndex((step) => step.phase === phase);
  return h(
    "button",
    { type: "button", "data-phase": phase, onclick: () => goTo(first) },
    t(`phase_${phase}`),
  );
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function renderTheme() {
  const theme = (document.documentElement.dataset.theme ??= dark.matches ? "dark" : "light");
  byId("theme").textContent = t(theme === "dark" ? "to_light" : "to_dark");
}

function renderAll() {
  renderFrame();
  renderStep();
  updateDrawing();
  renderDetails();
  renderTables();
}

// --- events -------------------------------------------------------------------------------------

function listenToPage() {
  byId("slider").max = STEPS.length - 1;
  byId("slider").addEventListener("input", (event) => goTo(Number(event.target.value)));
  byId("back").addEventListener("click", () => goTo(state.step - 1));
  byId("forth").addEventListener("click", () => goTo(state.step + 1));
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("sample").addEventListener("change", (event) => {
    state.sample = Number(event.target.value);
    renderAll();
  });
  byId("digits").addEventListener("click", () => {
    state.full = !state.full;
    renderAll();
  });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    renderTheme();
  });
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      state.language = button.dataset.language;
      renderAll();
    });
  }
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("input, select, textarea, [tabindex='0'].scroll");
    if (event.key === "Escape") {
      hideTip();
      if (state.chosen && !own) choose(null);
    }
    if (own || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault();
      goTo(state.step + (event.key === "ArrowRight" ? 1 : -1));
    }
  });
  window.addEventListener("scroll", hideTip, { passive: true });
  dark.addEventListener("change", () => {
    delete document.documentElement.dataset.theme;
    renderTheme();
  });
  let width = byId("drawing").clientWidth;
  new ResizeObserver(() => {
    if (byId("drawing").clientWidth === width) return;
    width = byId("drawing").clientWidth;
    buildDrawing();
    updateDrawing();
  }).observe(byId("drawing"));
}

state.language = navigator.language.startsWith("zh") ? "zh" : "en";
listenToPage();
buildDrawing();
renderAll();
