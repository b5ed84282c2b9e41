"""Measure the doctor: false alarms on healthy training runs, and the share of faults it finds.

Training runs are drawn by seed: a problem, a network and suitable settings, and for a faulty run
also a fault. The bounds in `backprop_xp.diagnosis.doctor` were chosen on seeds below 2000; those
from 5000, the default, were not used for that.
"""

import argparse
import warnings

import numpy as np

from backprop_xp import DivergenceError, Network, diagnose, fit, load_digits
from backprop_xp.nn.network import initial_parameters

USUAL_RATES = {
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adam": 0.003,
    "adamw": 0.003,
    "rmsprop": 0.002,
}

PROPORTIONAL = ("sgd", "momentum", "nesterov")


# --- problems: inputs of order 1, and classes (n,) or values (n, outputs) -----------------------


def digits(rng):
    known = load_digits().train
    rows = rng.permutation(len(known.inputs))[: rng.integers(500, 1500)]
    return known.inputs[rows] / 16.0, known.targets[rows]


def blobs(rng):
    classes, width = int(rng.integers(2, 6)), int(rng.integers(2, 20))
    labels = rng.integers(classes, size=rng.integers(400, 1500))
    centers = rng.normal(size=(classes, width)) * rng.uniform(1.0, 3.0)
    x = centers[labels] + rng.normal(size=(len(labels), width))
    return (x - x.mean(axis=0)) / x.std(axis=0), labels


def spirals(rng):
    labels = rng.integers(2, size=rng.integers(600, 1500))
    angle = rng.uniform(0.5, 5.0, size=len(labels))
    turned = angle + np.pi * labels
    x = np.stack([np.cos(turned), np.sin(turned)], axis=1) * angle[:, None]
    x += rng.normal(size=x.shape) * 0.2
    return x / x.std(axis=0), labels


def waves(rng):
    x = rng.uniform(-2.0, 2.0, size=(rng.integers(500, 1500), 3))
    y = np.sin(2.0 * x[:, 0]) + x[:, 1] * x[:, 2]
    return x, (y + 0.1 * rng.normal(size=len(x)))[:, None]


def linear(rng):
    x = rng.normal(size=(rng.integers(300, 1500), rng.integers(3, 30)))
    y = x @ rng.normal(size=(x.shape[1], 2)) / np.sqrt(x.shape[1])
    return x, y + 0.3 * rng.normal(size=y.shape)


CLASSIFICATIONS, REGRESSIONS = (digits, blobs, spirals), (waves, linear)


class Case:
    """A training run to be done: data, network and settings, all drawn by one generator."""

    def __init__(self, rng, problems=CLASSIFICATIONS + REGRESSIONS):
        self.rng = rng
        self.problem = problems[rng.integers(len(problems))]
        x, y = self.problem(rng)
        held_out = len(x) // 5
        self.train, self.validation = (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])
        regression, depth = y.ndim == 2, int(rng.integers(1, 4))
        hidden = [int(rng.choice([16, 32, 64, 100])) for _ in range(depth)]
        functions = ["relu", "tanh", "leaky_relu"]
        if depth == 1 and not regression:
            functions.append("sigmoid")
        self.sizes = [x.shape[1], *hidden, y.shape[1] if regression else int(y.max()) + 1]
        self.activations = [str(rng.choice(functions))] * depth
        self.output = "identity" if regression else "softmax"
        optimizer = str(rng.choice(list(USUAL_RATES)))
        rate = USUAL_RATES[optimizer] * float(rng.choice([0.5, 1.0, 2.0]))
        self.settings = {
            "optimizer": optimizer,
            # Errors are larger in regression, and these optimizers step in proportion to them.
            "learning_rate": 0.25 * rate if regression and optimizer in PROPORTIONAL else rate,
            "batch_size": int(rng.choice([10, 20, 32, 64])),
            "epochs": int(rng.integers(15, 41)),
            "seed": int(rng.integers(2**31)),
            "dtype": "float32",
            "patience": 8,
        }
        self.parameters = None

    def draw(self, initializer):
        """Draw the initial weights, so that they can be changed."""
        seed = self.settings["seed"]
        self.parameters = initial_parameters(
            self.network(), seed, initializer, xp=np, dtype=np.float32
        )

    def change(self, function):
        """Apply a function to the training and the validation data."""
        self.train, self.validation = function(*self.train), function(*self.validation)

    def network(self):
        """Return the network with the current sizes and activations."""
        return Network(self.sizes, [*self.activations, self.output])

    def faults(self):
        """Train and return the faults that the doctor finds."""
        diverged, settings = False, {"parameters": self.parameters, **self.settings}
        warnings.filterwarnings("ignore", "the (inputs|targets)")  # the faults are deliberate
        try:
            state = fit(self.network(), self.train, self.validation, **settings)
        except DivergenceError as error:
            state, diverged = error.state, True
        data = (self.train, self.validation)
        return [one.fault for one in diagnose(self.network(), state, *data, diverged=diverged)]


# --- training runs: one of each kind from a generator -------------------------------------------


def healthy(rng):
    case = Case(rng)
    if rng.random() < 0.3:  # without early stopping, and too short to overfit
        case.settings |= {"patience": None, "epochs": 12}
    if rng.random() < 0.2:
        case.settings["dropout"] = 0.2
    return case


def dead_units(rng):
    case = Case(rng)
    case.activations = ["relu"] * len(case.activations)
    case.draw("auto")
    index = int(rng.integers(len(case.activations)))
    units = rng.random(case.sizes[index + 1]) < rng.uniform(0.6, 1.0)
    bias = np.where(units, -20.0, 0.0).astype("float32")
    case.parameters[index] = case.parameters[index]._replace(bias=bias)
    return case


def deep(rng, activation, width):
    case = Case(rng)
    depth = int(rng.integers(5, 9))
    case.sizes[1:-1] = [width] * depth
    case.activations = [activation] * depth
    return case


def vanishing_gradients(rng):
    case = deep(rng, "sigmoid", 30)
    case.settings |= {"optimizer": "sgd", "learning_rate": 0.1}
    return case


def exploding_gradients(rng):
    case = deep(rng, "relu", 32)
    case.draw("standard_normal")
    return case


def learning_rate_too_high(rng):
    case = Case(rng)
    case.settings["learning_rate"] *= 10.0 ** rng.uniform(2.5, 4.0)
    return case


def learning_rate_too_low(rng):
    case = Case(rng)
    case.settings["learning_rate"] /= 10.0 ** rng.uniform(3.0, 5.0)
    return case


def inputs_not_scaled(rng):
    case = Case(rng)
    factor = 10.0 ** rng.uniform(1.7, 3.5)
    columns = rng.random(case.sizes[0]) < rng.uniform(0.3, 1.0)
    columns[0] = True
    scale = np.where(columns, factor, 1.0)
    offset = np.where(columns, factor, 0.0) * (rng.random() < 0.5)
    case.change(lambda x, y: (x * scale + offset, y))
    return case


def targets_not_scaled(rng):
    case = Case(rng, REGRESSIONS)
    factor, offset = 10.0 ** rng.uniform(2.5, 6.0), rng.choice([0.0, 1.0, 3.0])
    case.change(lambda x, y: (x, factor * (y / y.std(axis=0) + offset)))
    return case


def class_never_predicted(rng):
    case = Case(rng, CLASSIFICATIONS)
    case.sizes[1:-1], case.activations = [16], case.activations[:1]
    case.settings["epochs"] = 8

    def with_a_rare_class(x, y):
        # Class 0 is within class 1, and nowhere the more likely one.
        y = np.maximum(y, 1)
        few = rng.random(len(y)) < max(0.05, 15 / np.sum(y == 1))
        return x, np.where((y == 1) & few, 0, y)

    case.change(with_a_rare_class)
    return case


def labels_look_shuffled(rng):
    case = Case(rng)
    case.change(lambda x, y: (x, y[rng.permutation(len(y))]))
    case.settings["patience"] = None
    return case


def overfitting(rng):
    case = Case(rng, CLASSIFICATIONS)
    x, y = (part[:80] for part in case.train)
    wrong = rng.random(len(y)) < 0.3
    case.train = x, np.where(wrong, rng.integers(y.max() + 1, size=len(y)), y)
    # Columns of noise help to memorize the few rows.
    case.change(lambda x, y: (np.concatenate((x, rng.normal(size=(len(x), 50))), axis=1), y))
    case.sizes[0] += 50
    case.sizes[1:-1] = [100] * len(case.activations)
    case.settings |= {"optimizer": "adam", "learning_rate": 0.005, "batch_size": 10}
    case.settings |= {"epochs": 150, "patience": None}
    return case


FAULTS = {
    "inputs not scaled": inputs_not_scaled,
    "targets not scaled": targets_not_scaled,
    "exploding gradients": exploding_gradients,
    "dead units": dead_units,
    "vanishing gradients": vanishing_gradients,
    "learning rate too high": learning_rate_too_high,
    "learning rate too low": learning_rate_too_low,
    "labels look shuffled": labels_look_shuffled,
    "class never predicted": class_never_predicted,
    "overfitting": overfitting,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--healthy", type=int, default=300, help="number of healthy runs")
    parser.add_argument("--each", type=int, default=50, help="number of runs with each fault")
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--show", action="store_true", help="print runs with a wrong diagnosis")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + max(options.healthy, options.each))
    plan = {"healthy": (healthy, options.healthy)}
    plan |= {name: (draw, options.each) for name, draw in FAULTS.items()}
    for name, (draw, n) in plan.items():
        right = 0
        for seed in seeds[:n]:
            case = draw(np.random.default_rng(seed))
            faults = case.faults()
            hit = not faults if name == "healthy" else name in faults
            right += hit
            if options.show and not hit:
                print(
                    f"  seed {seed}: {case.problem.__name__} {case.sizes} {case.settings} {faults}"
                )
        outcome = "no alarm" if name == "healthy" else "found"
        print(f"{name:24} {outcome:9} {right} of {n} ({right / n:.1%})", flush=True)


if __name__ == "__main__":
    main()
