"""Write what pytorch-metric-learning computes on our batches to tests/losses/golden/pml.json.

    python tools/peers/pml_golden.py

Needs torch and pytorch-metric-learning, see README.md in this folder. Each entry holds the settings, a note of what
the formula is, and for each batch the value and the gradient by the embeddings, in float64; losses with weights also
the weights and the gradient by them, as `(NUM_CLASSES * centers, dim)` with the centers of a class side by side.
"""

import argparse
import importlib.metadata
from pathlib import Path

import torch
from batches import NUM_CLASSES, as_json, batches, class_weights, plain, rounded, text
from pml_entries import ENTRIES
from pytorch_metric_learning import distances, losses, miners, reducers

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "losses" / "golden" / "pml.json"


def made(module, description):
    """Object of `module` from `("Class", {settings})` or None."""
    return description and getattr(module, description[0])(**description[1])


def computed(entry, name, labels, rows):
    settings, weights = dict(entry.settings), None
    if entry.weights:
        settings |= {"num_classes": NUM_CLASSES, "embedding_size": rows.shape[1]}
        weights = class_weights(rows.shape[1], entry.centers)
    if entry.distance:
        settings["distance"] = made(distances, entry.distance)
    loss = getattr(losses, entry.loss)(reducer=getattr(reducers, entry.reducer)(), **settings)
    if entry.weights:
        parameter = getattr(loss, entry.weights)
        in_order = parameter.shape == weights.shape
        parameter.data = torch.tensor(weights if in_order else weights.T)
    embeddings, labels = torch.tensor(rows, requires_grad=True), torch.tensor(labels)
    mined = made(miners, entry.miner)
    if entry.memory_size:
        loss = losses.CrossBatchMemory(loss, rows.shape[1], entry.memory_size, miner=mined)
        return [
            of_step(loss(embeddings[start : start + 8], labels[start : start + 8]), embeddings, start)
            for start in range(0, len(rows), 8)
        ]
    value = loss(embeddings, labels, mined and mined(embeddings, labels))
    by = [embeddings] if weights is None else [embeddings, parameter]
    gradients = torch.autograd.grad(value, by)
    found = {"value": number(value), "gradient": array(gradients[0])}
    if weights is not None:
        found |= {"weights": plain(weights), "weights_gradient": array(gradients[1] if in_order else gradients[1].T)}
    return found


def of_step(value, embeddings, start):
    (gradient,) = torch.autograd.grad(value, embeddings)
    return {"value": number(value), "gradient": array(gradient[start : start + 8])}


def number(tensor):
    return float(rounded(tensor.detach().numpy()))


def array(tensor):
    return plain(rounded(tensor.detach().numpy()))


def described(entry):
    distance = entry.distance or ("default", {})
    found = {"loss": entry.loss, "settings": entry.settings, "distance": {"name": distance[0], **distance[1]}}
    found |= {"reducer": entry.reducer}
    if entry.miner:
        found["miner"] = {"name": entry.miner[0], **entry.miner[1]}
    if entry.weights:
        found["centers"] = entry.centers
    if entry.memory_size:
        found |= {"memory_size": entry.memory_size, "batch_size": 8}
    return found | {"note": " ".join(entry.note.split())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=GOLDEN, help=f"file to write, by default {GOLDEN.name} of the tests"
    )
    out = parser.parse_args().out
    # Some losses make tensors of the default dtype and would round to float32.
    torch.set_default_dtype(torch.float64)
    data, entries = batches(), {}
    for name, entry in ENTRIES.items():
        entries[name] = described(entry) | {"batches": {key: computed(entry, key, *data[key]) for key in entry.batches}}
    packages = ("pytorch-metric-learning", "torch", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    tree = {"made by": "tools/peers/pml_golden.py", "versions": versions, "batches": as_json(), "entries": entries}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text(tree) + "\n")
    print(f"{len(entries)} entries written to {out}")


if __name__ == "__main__":
    main()
