"""Handwritten digits, told apart by a small network in NumPy: the steps of `pipeline.sh`.

digits.py prepare COUNT          COUNT digits to train on into train/, and 597 others into test/
digits.py train RATE DATA        train on the version DATA with this learning rate, and add the model
digits.py predict                what model/ makes of test/, as a table
digits.py evaluate PREDICTIONS…  which share of each of these versions is right, as a report and a metric
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np

import mlver

DIGITS = Path(__file__).resolve().parent / "data" / "digits.csv.gz"
TESTED = 597
HIDDEN, EPOCHS, BATCH = 32, 40, 25

Array = np.ndarray[Any, np.dtype[Any]]


def prepare(count: int) -> None:
    """Write the digits to train on, and those to test with."""
    with gzip.open(DIGITS, "rt") as file:
        lines = file.readlines()
    for name, part in (("train", lines[:count]), ("test", lines[-TESTED:])):
        Path(name).mkdir(exist_ok=True)
        Path(name, "digits.csv").write_text("".join(part))


def read(file: IO[bytes] | Path) -> tuple[Array, Array]:
    """Return images of shape (digits, 64) from 0 to 1, and what they are."""
    table = np.loadtxt(file, delimiter=",")
    return table[:, :64] / 16, table[:, 64].astype(int)


def scores(weights: dict[str, Array], images: Array) -> tuple[Array, Array]:
    """Return the hidden layer, and the probability of each digit."""
    hidden = np.maximum(images @ weights["w1"] + weights["b1"], 0)
    raw = hidden @ weights["w2"] + weights["b2"]
    raw = np.exp(raw - raw.max(1, keepdims=True))
    return hidden, raw / raw.sum(1, keepdims=True)


def train(rate: float, data: str) -> None:
    """Train, tell how it goes, and add what comes of it: mlver.run records the rest."""
    config = {"lr": rate, "hidden": HIDDEN, "epochs": EPOCHS}
    with mlver.run(config=config, job_type="train", name=f"lr {rate:g}, {data}") as run:
        images, digits = read(run.use(data).open("digits.csv"))
        tried = np.arange(len(digits)) % 5 == 0
        random = np.random.default_rng(0)
        weights = {
            "w1": random.normal(0, 0.2, (64, HIDDEN)),
            "b1": np.zeros(HIDDEN),
            "w2": random.normal(0, 0.2, (HIDDEN, 10)),
            "b2": np.zeros(10),
        }
        for epoch in range(EPOCHS):
            order = random.permutation(np.flatnonzero(~tried))
            for batch in np.array_split(order, len(order) // BATCH):
                step(weights, images[batch], digits[batch], rate)
            guesses = scores(weights, images[tried])[1]
            right = guesses[np.arange(len(guesses)), digits[tried]]
            accuracy = float((guesses.argmax(1) == digits[tried]).mean())
            run.log({"loss": -np.log(right + 1e-12).mean(), "val_acc": accuracy}, step=epoch)
        Path("model").mkdir(exist_ok=True)
        np.savez("model/weights.npz", **{name: each.astype("float32") for name, each in weights.items()})
        added = run.add("model/", name="digits_mlp", type="classifier", message=f"lr {rate:g} on {data}")
        print(added.version.name if added else "", "val_acc", round(accuracy, 3))


def step(weights: dict[str, Array], images: Array, digits: Array, rate: float) -> None:
    """Make the weights a little better."""
    hidden, guesses = scores(weights, images)
    guesses[np.arange(len(digits)), digits] -= 1
    back = guesses @ weights["w2"].T * (hidden > 0)
    for name, slope in (
        ("w2", hidden.T @ guesses),
        ("b2", guesses.sum(0)),
        ("w1", images.T @ back),
        ("b1", back.sum(0)),
    ):
        weights[name] -= rate * slope / len(digits)


def predict() -> None:
    """Print what the model in model/ makes of each digit in test/."""
    images, digits = read(Path("test/digits.csv"))
    with np.load("model/weights.npz") as weights:
        guesses = scores(dict(weights), images)[1]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("id", "label", "prediction", "probability"))
    for number, (digit, guess) in enumerate(zip(digits, guesses, strict=True)):
        table.writerow((number, digit, guess.argmax(), f"{guess.max():.4f}"))


def evaluate(predictions: list[str]) -> None:
    """Compare versions of predictions with what the digits are: for a report, and as a metric of each model."""
    report = {}
    with mlver.run() as run, mlver.Repository.open() as repository:  # within `mlver run`, the run is that one
        for revision in predictions:
            version = run.use(revision)
            table = list(csv.DictReader(line.decode() for line in version.open("predictions.csv")))
            accuracy = round(sum(row["label"] == row["prediction"] for row in table) / len(table), 4)
            model = version.ancestors(type="classifier")[0].name
            report[model] = accuracy
            repository.meta(model, metrics={"test_acc": accuracy})
        Path("report.json").write_text(json.dumps(report, indent=1) + "\n")
        run.add("report.json", name="report", type="evaluation")
    print(json.dumps(report))


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["prepare", count]:
            prepare(int(count))
        case ["train", rate, data]:
            train(float(rate), data)
        case ["predict"]:
            predict()
        case ["evaluate", *predictions] if predictions:
            evaluate(predictions)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
