"""Fine-tunes MiniLM for real, in NumPy: which package of Python's library is a sentence of documentation from?

    finetune.py prepare MODEL FEATURES    run the frozen part once over the docstrings found on this machine
    finetune.py epoch MODEL FEATURES      train for an epoch, write the checkpoint into MODEL, print the accuracy
    finetune.py score MODEL FEATURES      print the accuracy on the sentences that are not trained on

MODEL is a folder as Hugging Face lays it out (model.safetensors, vocab.txt). Trained are the last layer's output matrix
and its normalisation, and a classifier in head.npy; all else is frozen, so it needs to be computed but once.
"""

from __future__ import annotations

import ast
import json
import sys
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("asyncio", "email", "importlib", "multiprocessing", "unittest", "xml")
SENTENCES_EACH = 40
TOKENS = 16
HEADS = 12
LAYERS = 6
STEPS_AN_EPOCH = 8
LEARNING_RATE = {"head.npy": 2e-2}
BACKBONE_RATE = 5e-4
LAST = f"encoder.layer.{LAYERS - 1}.output"
TRAINED = (f"{LAST}.dense.weight", f"{LAST}.dense.bias", f"{LAST}.LayerNorm.weight", f"{LAST}.LayerNorm.bias")

Array = np.ndarray[Any, np.dtype[Any]]
Weights = dict[str, Array]


# The model file: https://github.com/huggingface/safetensors#format


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and the offset of its data in bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def read_weights(folder: Path) -> Weights:
    """Return the F32 tensors of the model by name, and the classifier; shape (packages, 384), zeros before training."""
    path = folder / "model.safetensors"
    header, start = read_header(path)
    data = path.read_bytes()
    weights: Weights = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            weights[name] = np.frombuffer(data[start + begin : start + end], "<f4").reshape(entry["shape"])
    head = folder / "head.npy"
    weights["head.npy"] = np.load(head) if head.exists() else np.zeros((len(PACKAGES), 384), np.float32)
    return weights


def write_weights(folder: Path, weights: Weights) -> None:
    """Write the trained tensors into the model file, and the classifier beside it."""
    path = folder / "model.safetensors"
    header, start = read_header(path)
    with path.open("r+b") as file:
        for name in TRAINED:
            file.seek(start + header[name]["data_offsets"][0])
            file.write(weights[name].astype("<f4").tobytes())
    np.save(folder / "head.npy", weights["head.npy"])


# Sentences and tokens


def sentences(package: str) -> list[str]:
    """Return first lines of docstrings in a package of the standard library."""
    found: dict[str, None] = {}
    spec = find_spec(package)
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        for path in sorted(Path(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    line = (ast.get_docstring(node) or "").partition("\n")[0]
                    if len(line.split()) >= 5:
                        found[line] = None
    return list(found)[:SENTENCES_EACH]


def words(text: str) -> Iterator[str]:
    """Yield lower-case words and single punctuation marks, as BERT's uncased models are given them."""
    word = ""
    for c in unicodedata.normalize("NFD", text.lower()):
        if c.isalnum():
            word += c
            continue
        if word:
            yield word
        word = ""
        if not c.isspace() and unicodedata.category(c) != "Mn":
            yield c
    if word:
        yield word


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """Return the ids of the longest pieces from the left: WordPiece."""
    found: list[int] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        fits = (end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary)
        end = next(fits, None)
        if end is None:
            return [vocabulary["[UNK]"]]
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found


def tokenise(texts: list[str], folder: Path) -> Array:
    """Return token ids, padded with 0; shape (texts, TOKENS)."""
    vocabulary = {word: n for n, word in enumerate((folder / "vocab.txt").read_text("utf-8").split("\n"))}
    tokens = np.zeros((len(texts), TOKENS), np.int64)
    for row, text in zip(tokens, texts, strict=True):
        body = [piece for word in words(text) for piece in pieces(word, vocabulary)][: TOKENS - 2]
        row[: len(body) + 2] = [vocabulary["[CLS]"], *body, vocabulary["[SEP]"]]
    return tokens


# The network. Source: Devlin et al., BERT, 2018; Wang et al., MiniLM, 2020


def dense(x: Array, weights: Weights, name: str) -> Array:
    """Return x W^T + b."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normalise(x: Array) -> tuple[Array, Array]:
    """Return x normalised over its last axis, and the deviations it was divided by."""
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-12)
    return centred / deviation, deviation


def layer_norm(x: Array, weights: Weights, name: str) -> Array:
    """Return x normalised, scaled and moved."""
    return normalise(x)[0] * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: Array) -> Array:
    """Return the usual approximation of GELU."""
    gate: Array = 1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))
    return 0.5 * x * gate


def attention(x: Array, mask: Array, weights: Weights, layer: str) -> Array:
    """Return multi-head self-attention; x has shape (texts, TOKENS, 384)."""

    def split(y: Array) -> Array:
        return y.reshape(*y.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)

    query, key, value = (split(dense(x, weights, f"{layer}.attention.self.{n}")) for n in ("query", "key", "value"))
    scores = query @ key.transpose(0, 1, 3, 2) / query.shape[-1] ** 0.5 + mask
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ value
    return dense(mixed.transpose(0, 2, 1, 3).reshape(x.shape), weights, f"{layer}.attention.output.dense")


def frozen(tokens: Array, weights: Weights) -> tuple[Array, Array]:
    """Run all that is not trained; return the last layer's inner state and what is added to its output."""
    x = weights["embeddings.word_embeddings.weight"][tokens]
    x = x + weights["embeddings.position_embeddings.weight"][:TOKENS]
    x = layer_norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    mask = np.where(tokens == 0, np.float32(-1e9), np.float32(0))[:, None, None, :]
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        x = layer_norm(x + attention(x, mask, weights, layer), weights, f"{layer}.attention.output.LayerNorm")
        inner = gelu(dense(x, weights, f"{layer}.intermediate.dense"))
        if n < LAYERS - 1:
            x = layer_norm(x + dense(inner, weights, f"{layer}.output.dense"), weights, f"{layer}.output.LayerNorm")
    return inner, x


# What is trained


class Tuner:
    """The last matrix, its normalisation and the classifier, with Adam.

    Args:
        folder: The model.
        features: What `prepare` wrote.
    """

    def __init__(self, folder: Path, features: Path) -> None:
        self.weights = read_weights(folder)
        with np.load(features) as data:
            self.inner, self.residual = data["inner"], data["residual"]
            self.labels, self.share = data["labels"], data["share"]
        self.held_out = np.arange(len(self.labels)) % 4 == 3

    def forward(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Return, for some sentences: class probabilities, their embeddings, normalised tokens and deviations."""
        z = dense(self.inner[rows], self.weights, f"{LAST}.dense") + self.residual[rows]
        normal, deviation = normalise(z)
        y = normal * self.weights[f"{LAST}.LayerNorm.weight"] + self.weights[f"{LAST}.LayerNorm.bias"]
        embedding = np.einsum("nth,nt->nh", y, self.share[rows])
        logits = embedding @ self.weights["head.npy"].T
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        return odds / odds.sum(-1, keepdims=True), embedding, normal, deviation

    def gradients(self, rows: Array) -> Weights:
        """Return the derivatives of the mean cross entropy, by the names of the weights."""
        odds, embedding, normal, deviation = self.forward(rows)
        error = (odds - np.eye(len(PACKAGES), dtype=np.float32)[self.labels[rows]]) / np.float32(len(odds))
        dy = (error @ self.weights["head.npy"])[:, None, :] * self.share[rows][:, :, None]
        dn = dy * self.weights[f"{LAST}.LayerNorm.weight"]
        dz = (dn - dn.mean(-1, keepdims=True) - normal * (dn * normal).mean(-1, keepdims=True)) / deviation
        flat = dz.reshape(-1, dz.shape[-1])
        return {
            f"{LAST}.dense.weight": flat.T @ self.inner[rows].reshape(len(flat), -1),
            f"{LAST}.dense.bias": flat.sum(0),
            f"{LAST}.LayerNorm.weight": (dy * normal).sum((0, 1)),
            f"{LAST}.LayerNorm.bias": dy.sum((0, 1)),
            "head.npy": error.T @ embedding,
        }

    def train(self) -> None:
        """Do some steps of Adam over all sentences that are not held out."""
        mean: Weights = {}
        square: Weights = {}
        for step in range(1, STEPS_AN_EPOCH + 1):
            for name, gradient in self.gradients(np.flatnonzero(~self.held_out)).items():
                mean[name] = 0.9 * mean.get(name, 0 * gradient) + 0.1 * gradient
                square[name] = 0.99 * square.get(name, 0 * gradient) + 0.01 * gradient**2
                unbiased = mean[name] / (1 - 0.9**step), square[name] / (1 - 0.99**step)
                rate = LEARNING_RATE.get(name, BACKBONE_RATE)
                self.weights[name] = self.weights[name] - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)

    def accuracy(self) -> float:
        """Return the share of held-out sentences that are put into the right package."""
        rows = np.flatnonzero(self.held_out)
        return float((self.forward(rows)[0].argmax(-1) == self.labels[rows]).mean())


def prepare(folder: Path, features: Path) -> None:
    """Write what training needs of the sentences: labels, the frozen part's output, each token's share in the mean."""
    texts = [(text, label) for label, package in enumerate(PACKAGES) for text in sentences(package)]
    tokens = tokenise([text for text, _ in texts], folder)
    inner, residual = frozen(tokens, read_weights(folder))
    real = (tokens != 0).astype(np.float32)
    labels = np.array([label for _, label in texts])
    np.savez(features, inner=inner, residual=residual, labels=labels, share=real / real.sum(-1, keepdims=True))
    print(f"{len(texts)} sentences", file=sys.stderr)


def main() -> None:
    """Do what the arguments say."""
    verb, folder, features = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if verb == "prepare":
        prepare(folder, features)
        return
    tuner = Tuner(folder, features)
    if verb == "epoch":
        tuner.train()
        write_weights(folder, tuner.weights)
    print(f"{tuner.accuracy():.4f}")


if __name__ == "__main__":
    main()
