"""The trace page in a real browser: steps, clicks and keys show the numbers of the trace."""

import pytest
from pages import example, image_trace, trace_of, watched

from backprop_xp.nn.regularizers import Penalty
from backprop_xp.trace.examples import EXAMPLES


@pytest.fixture
def opened(browser):
    with watched(browser) as open_page:
        yield open_page


def numbers(browser, selector):
    """Return the numbers in a part of the page with every digit; they are shown with six."""
    found = browser.run(
        "return [...document.querySelectorAll(arguments[0])].map(e => [e.value, e.textContent])",
        f"{selector} data.num",
    )
    for exact, shown in found:
        assert float(shown.replace("−", "-")) == float(f"{float(exact):.6g}")
    return [float(exact) for exact, _ in found]


def steps(browser):
    return browser.run("return +document.getElementById('slider').max + 1")


def go_to(browser, title):
    """Go to the step of that title with the arrow keys."""
    for _ in range(steps(browser)):
        if browser.text("#step-title") == title:
            return
        browser.press("ARROW_RIGHT")
    raise AssertionError(f"there is no step {title!r}")


def click_unit(browser, layer, place):
    browser.click_on(f'[data-unit="{layer} {place}"] .ring')


def click_line(browser, layer, j, k):
    """Click on a line at a third of its length, where no other line crosses."""
    point = browser.run(
        "const root = document.querySelector('#drawing > svg').getBoundingClientRect();"
        "const line = document.querySelector(arguments[0]);"
        "const at = (a, b) => 0.7 * line.getAttribute(a) + 0.3 * line.getAttribute(b);"
        "return [root.left + at('x1', 'x2'), root.top + at('y1', 'y2')]",
        f'[data-edge="{layer} {j} {k}"]',
    )
    browser.click_at(*point)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_arrow_keys_walk_all_steps_and_back(browser, opened, name):
    depth = len(opened(example(name))["layers"])
    titles = [browser.text("#step-title")]
    for _ in range(steps(browser) + 1):  # one too many changes nothing
        browser.press("ARROW_RIGHT")
        titles.append(browser.text("#step-title"))
    assert titles[-2] == titles[-1] == titles[-3] == "Forward again, with the new weights"
    assert len(set(titles)) == steps(browser) == 4 + 3 * depth
    for _ in range(steps(browser)):
        browser.press("ARROW_LEFT")
    assert browser.text("#step-title") == titles[0]


def test_a_step_can_be_dragged_to_and_chosen_by_its_part(browser, opened):
    opened(example("note-000"))
    browser.find("#slider").click()  # its middle
    assert browser.text("#position") == "7 / 13"
    browser.find("[data-phase=update]").click()
    assert browser.text("#step-title") == "The update"


def test_playing_goes_on_by_itself_and_stops_when_told(browser, opened):
    opened(example("xor"))
    browser.find("#play").click()
    browser.run("return new Promise(done => setTimeout(done, 2500))")
    assert browser.text("#position") == "2 / 10"
    browser.find("#play").click()
    browser.run("return new Promise(done => setTimeout(done, 2500))")
    assert browser.text("#position") == "2 / 10"


def test_the_line_of_a_forward_step_holds_the_numbers_of_the_trace(browser, opened):
    data = opened(example("note-001"))
    go_to(browser, "Forward through layer 1")
    (sample,), layer = data["samples"], data["layers"][0]["old"]
    terms = [x for pair in zip(layer["weights"][0], sample["input"], strict=True) for x in pair]
    bias = layer["bias"][:1] if layer["bias"] else []
    z, a = sample["layers"][0]["z"][0], sample["layers"][0]["a"][0]
    assert numbers(browser, "#step-text") == [*terms, *bias, z, z, a]


def test_the_last_step_holds_both_losses(browser, opened):
    data = opened(example("note-000"))
    go_to(browser, "Forward again, with the new weights")
    assert numbers(browser, "#step-text") == [data["loss_before"], data["loss_after"]]


def test_a_click_on_a_neuron_shows_its_sum_activation_slope_and_error(browser, opened):
    data = opened(example("note-000"))
    click_unit(browser, 2, 1)
    assert browser.text("#details-title") == "Layer 2, neuron 2"
    (sample,) = data["samples"]
    below, own = sample["layers"][0]["a"], {k: v[1] for k, v in sample["layers"][1].items()}
    weights = data["layers"][1]["old"]["weights"][1]
    above = [row[1] for row in data["layers"][2]["old"]["weights"]]
    shown = numbers(browser, "#details")
    for k, (w, a) in enumerate(zip(weights, below, strict=True)):
        assert shown[3 * k : 3 * k + 3] == [w, a, w * a]
    assert shown[15] == own["z"]
    assert shown[16:20] == [own["z"], own["a"], own["z"], own["slope"]]
    deltas = sample["layers"][2]["delta"]
    products = [x for w, d in zip(above, deltas, strict=True) for x in (w, d, w * d)]
    error = [own["incoming"], own["incoming"], own["slope"], own["delta"]]
    assert shown[20:30] == [*products, *error]
    after = {k: v[1] for k, v in sample["after"]["layers"][1].items()}
    assert shown[30:] == [own["z"], after["z"], own["a"], after["a"]]
    labels = browser.run(
        "return [...document.querySelectorAll('.curve')].map(e => e.getAttribute('aria-label'))"
    )
    assert [float(label.rsplit(" ", 1)[1]) for label in labels] == pytest.approx(
        [own["a"], own["slope"]], rel=1e-5
    )


def test_a_click_on_a_line_shows_its_gradient_and_old_and_new(browser, opened):
    data = opened(example("note-000"))
    click_line(browser, 3, 1, 4)
    assert browser.text("#details-title") == "Weight: Layer 2, neuron 5 → Layer 3, neuron 2"
    (sample,), layer = data["samples"], data["layers"][2]
    delta, a = sample["layers"][2]["delta"][1], sample["layers"][1]["a"][4]
    old, gradient, update, new = (
        layer[name]["weights"][1][4] for name in ("old", "gradient", "update", "new")
    )
    eta = data["optimizer"]["learning_rate"]
    worked = [delta, a, gradient, eta, old, eta, gradient, new]
    assert numbers(browser, "#details") == [*worked, old, update, new]


def test_a_click_on_a_bias_sums_over_the_samples_and_shows_the_optimizers_memory(browser, opened):
    data = opened(example("xor"))
    browser.find('[data-bias="1 1"]').click()
    assert browser.text("#details-title") == "Bias: Layer 1, neuron 2"
    layer = data["layers"][0]
    deltas = [sample["layers"][0]["delta"][1] for sample in data["samples"]]
    memory = [layer["slots"]["velocity"][at]["bias"][1] for at in ("before", "after")]
    old, gradient, update, new = (
        layer[name]["bias"][1] for name in ("old", "gradient", "update", "new")
    )
    shown = numbers(browser, "#details")
    assert shown[:5] == [*deltas, gradient]
    settings = [
        data["optimizer"]["learning_rate"],
        data["optimizer"]["hyperparameters"]["momentum"],
    ]
    assert shown[5:] == [*settings, *memory, old, update, new, old, update, new]


def test_a_gradient_shows_what_a_penalty_adds(browser, opened):
    trace = trace_of((2, 2, 2), penalty=Penalty(l2=0.25))
    data = opened(trace)
    click_line(browser, 2, 1, 0)
    w, gradient = (data["layers"][1][name]["weights"][1][0] for name in ("old", "gradient"))
    delta, a = data["samples"][0]["layers"][1]["delta"][1], data["samples"][0]["layers"][0]["a"][0]
    shown = numbers(browser, "#details .part:first-of-type")
    assert shown == [0.25, delta, a, delta * a, 0.25 * w, gradient]


def test_a_penalty_stands_in_the_equation_and_falls_on_no_bias(browser, opened):
    opened(trace_of((2, 2, 2), penalty=Penalty(l1=0.5, l2=0.25)))
    go_to(browser, "Backward: the gradients of layer 2")
    weights, biases = browser.run(
        "return [...document.querySelectorAll('.equation')].slice(0, 2).map(e => e.textContent)"
    )
    assert weights.count("0.25·w") == 1
    assert weights.count("0.5·sign(w") == 1
    assert "sign" not in biases
    browser.find('[data-bias="2 0"]').click()
    assert "penalty" not in browser.text("#details .part:first-of-type")


def test_another_sample_of_the_batch_can_be_chosen(browser, opened):
    data = opened(example("xor"))
    go_to(browser, "Forward through layer 2")
    browser.run(
        "const choice = document.getElementById('sample'); choice.value = 2;"
        "choice.dispatchEvent(new Event('change'))"
    )
    output = data["samples"][2]["layers"][1]
    assert numbers(browser, "#step-text")[-3:] == [output["z"][0], output["z"][0], output["a"][0]]


def test_a_click_on_a_pixel_shows_it_and_its_weights(browser, opened):
    data = opened(image_trace())
    box = browser.run(
        "const box = document.querySelector('.image .frame').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )
    row, column = 4, 1  # counted from 0
    browser.click_at(
        box[0] + (column + 0.5) * box[2] / 5,
        box[1] + (row + 0.5) * box[3] / 6,
    )
    assert browser.text("#details-title") == "Pixel in row 5, column 2"
    browser.find("#details .more").click()
    k = row * 5 + column
    layer = data["layers"][0]
    wanted = [
        layer[name]["weights"][j][k] for j in range(12) for name in ("old", "gradient", "new")
    ]
    assert numbers(browser, "#details") == [data["samples"][0]["input"][k], *wanted]


def test_long_sums_are_cut_and_can_be_had_whole(browser, opened):
    data = opened(image_trace())
    click_unit(browser, 1, 3)
    assert "20 more, which sum to" in browser.text("#details")
    rows = "return document.querySelectorAll('#details .part:first-of-type tbody tr').length"
    assert browser.run(rows) == 10 + 3
    terms = [
        w * x
        for w, x in zip(
            data["layers"][0]["old"]["weights"][3], data["samples"][0]["input"], strict=True
        )
    ]
    largest = sorted(terms, key=abs)[-10:]
    (rest,) = numbers(browser, "#details tr.others")
    assert rest == pytest.approx(sum(terms) - sum(largest), abs=1e-14)
    browser.find("#details .more").click()
    assert browser.run(rows) == 30 + 2
    assert not browser.find_all("#details tr.others")


def test_softmax_says_why_it_has_no_curve(browser, opened):
    opened(image_trace())
    click_unit(browser, 2, 1)
    assert browser.text("#details-title") == "Layer 2, neuron 2 (class bee)"
    assert "there is no curve of a single z" in browser.text("#details")
    assert not browser.find_all(".curve")


def test_everything_is_reached_with_the_keyboard_alone(browser, opened):
    data = opened(example("note-000"))
    for _ in range(30):
        browser.press("TAB")
        label = browser.run("return document.activeElement.getAttribute('aria-label')")
        if label and label.startswith("Layer 2"):
            break
    browser.press("ARROW_DOWN", "ARROW_DOWN", "ENTER")
    assert browser.text("#details-title") == "Layer 2, neuron 3"
    assert "Details are shown" in browser.text("#said")
    before = browser.text("#position")
    browser.press("ARROW_RIGHT")
    assert browser.text("#position") != before
    for _ in range(40):
        browser.press("TAB")
        label = browser.run("return document.activeElement.getAttribute('aria-label')")
        if label and label.startswith("Weight: Layer 1, neuron 2 →"):
            break
    browser.press("ENTER")
    old = data["layers"][1]["old"]["weights"][2][1]
    assert numbers(browser, "#details .oldnew")[0] == old
    browser.press("ESCAPE")
    label = browser.run("return document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Layer 2, neuron 3")


def test_the_keys_move_over_a_picture_and_open_a_pixel(browser, opened):
    data = opened(image_trace())
    browser.run("document.querySelector('.image').focus()")
    browser.press("ARROW_RIGHT", "ARROW_DOWN", "ARROW_DOWN")
    assert browser.text("#position") == "1 / 10"
    x = data["samples"][0]["input"][2 * 5 + 1]
    assert browser.text("#said") == f"Pixel in row 3, column 2, x = {x:.6g}"
    browser.press("ENTER")
    assert browser.text("#details-title") == "Pixel in row 3, column 2"


def test_every_digit_can_be_had_without_a_mouse(browser, opened):
    data = opened(example("note-000"))
    go_to(browser, "Forward again, with the new weights")
    browser.find("#digits").click()
    shown = [e.text for e in browser.find_all("#step-text data.num")]
    assert shown == [repr(data["loss_before"]), repr(data["loss_after"])]


def test_the_tables_hold_the_numbers_of_the_trace(browser, opened):
    data = opened(example("xor"))
    names = ("z", "a", "incoming", "slope", "delta")
    sample, layer = data["samples"][0], data["layers"][0]
    wanted = []
    for j in range(2):
        wanted += [sample["layers"][0][name][j] for name in names]
        wanted += [layer[name]["bias"][j] for name in ("old", "gradient", "new")]
        wanted += [sample["after"]["layers"][0][name][j] for name in ("z", "a")]
    for j in range(2):
        for k in range(2):
            places = [layer[name]["weights"] for name in ("old", "gradient", "update", "new")]
            places += [layer["slots"]["velocity"][at]["weights"] for at in ("before", "after")]
            wanted += [rows[j][k] for rows in places]
    assert numbers(browser, ".tables details:nth-of-type(2)") == wanted


def test_long_tables_are_cut_and_can_be_had_whole(browser, opened):
    data = opened(trace_of((64, 3, 2), image_shape=(8, 8)))
    for block in browser.find_all(".tables summary"):
        block.click()
    weights = data["layers"][0]["old"]["weights"]
    rows = "return document.querySelectorAll('#table-weights-1 tbody tr').length"
    assert browser.run(rows) == 50
    browser.find(".tables details:nth-of-type(2) .more").click()
    assert browser.run(rows) == 64
    assert browser.run("return document.activeElement.id") == "table-weights-1"
    browser.run(
        "const choice = document.getElementById('listed-1'); choice.value = 2;"
        "choice.dispatchEvent(new Event('change'))"
    )
    assert numbers(browser, "#table-weights-1")[::4] == weights[2]


def test_a_network_that_is_cut_says_how_much_is_left_out(browser, opened):
    opened(trace_of((40, 50, 3)))
    weights = 40 * 50 - 32 * 32 + (50 - 32) * 3
    assert f"Not drawn: 26 neurons and {weights:,} weights" in browser.text("#cut")
    click_unit(browser, 1, 0)
    assert "30 more, which sum to" in browser.text("#details")


def test_numbers_that_are_not_finite_are_named_so(browser, opened):
    opened(trace_of((2, 2, 1), ["identity", "identity"], learning_rate=1e300))
    click_unit(browser, 2, 0)
    assert "not finite" in browser.text("#details")
