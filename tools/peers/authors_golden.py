"""Write what the published code of some losses computes on our batches to tests/losses/golden/authors.json.

    python tools/peers/authors_golden.py DIR

DIR holds clones of the repositories in `README.md` of this folder, each under its own name. Needs torch.
"""

import argparse
import importlib.util
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import torch
from batches import NUM_CLASSES, batches, class_weights, plain, rounded, text

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "losses" / "golden" / "authors.json"
BATCHES = ("random", "raw")


def module(path, missing=()):
    """A file of a repository, with empty modules in place of what it imports and we do not need."""
    for name in missing:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].iresnet = sys.modules[name].cprint = None
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def entry(value, rows):
    (gradient,) = torch.autograd.grad(value, rows)
    return {"value": float(rounded(value.detach().numpy())), "gradient": plain(rounded(gradient.numpy()))}


def cross_entropy(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels)


def ada_face(folder, labels, rows, weights):
    head = module(folder / "AdaFace" / "head.py").AdaFace(
        rows.shape[1], NUM_CLASSES, m=0.4, h=0.333, s=8.0, t_alpha=1.0
    )
    head.kernel.data = weights.T
    norms = torch.norm(rows, 2, 1, True)
    return cross_entropy(head(rows / norms, norms, labels), labels)


def mag_face(folder, labels, rows, weights):
    authors = module(folder / "MagFace" / "models" / "magface.py", ("models", "termcolor"))
    line = types.SimpleNamespace(l_margin=0.3, u_margin=0.9, l_a=0.8, u_a=4.0)
    linear = authors.MagLinear(rows.shape[1], NUM_CLASSES, scale=8.0)
    linear.weight.data = weights.T
    logits, norms = linear(rows, partial(authors.SoftmaxBuilder._margin, line), line.l_a, line.u_a)
    of_classes, of_lengths, _ = authors.MagLoss(line.l_a, line.u_a, line.l_margin, line.u_margin)(logits, labels, norms)
    return of_classes + 2 * of_lengths


def elastic(name):
    def value(folder, labels, rows, weights):
        head = getattr(module(folder / "ElasticFace" / "utils" / "losses.py"), name)
        head = head(rows.shape[1], NUM_CLASSES, s=8.0, m=0.4, std=0.0)
        head.kernel.data = weights.T
        return cross_entropy(head(rows, labels), labels)

    return value


def recall_at_k(folder, labels, rows, weights):
    torch.Tensor.cuda = lambda tensor: tensor
    number = len(torch.unique(labels))
    made = module(folder / "RecallatK_surrogate" / "src" / "losses.py").RecallatK(
        0.1, len(rows), number, rows.shape[1], [1, 2], [1, 1], 0
    )
    return sum(made(rows, query) for query in range(len(rows)))


ENTRIES = {
    "AdaFace": (ada_face, BATCHES, "h 0.333, m 0.4, s 8; mean and deviation are those of the batch alone"),
    "MagFace": (mag_face, BATCHES, "margin 0.3 to 0.9 for lengths 0.8 to 4, s 8, length weight 2"),
    "ElasticArcFace": (
        elastic("ElasticArcFace"),
        BATCHES,
        "m 0.4 without deviation, s 8; no rule beyond an angle of pi - m",
    ),
    "ElasticCosFace": (elastic("ElasticCosFace"), BATCHES, "m 0.4 without deviation, s 8"),
    "Recall@k": (
        recall_at_k,
        ("balanced",),
        "k 1 and 2, temperatures 0.1 and 1; the query is one of its own references",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the clones")
    folder = parser.parse_args().folder
    torch.set_default_dtype(torch.float64)
    data, entries = batches(), {}
    for name, (function, names, note) in ENTRIES.items():
        found = {}
        for batch in names:
            labels, rows = data[batch]
            weights = torch.tensor(class_weights(rows.shape[1]))
            leaf = torch.tensor(rows, requires_grad=True)
            found[batch] = entry(function(folder, torch.tensor(np.asarray(labels)), leaf, weights), leaf)
        entries[name] = {"note": note, "batches": found}
    tree = {"made by": "tools/peers/authors_golden.py", "batches": "those of pml.json", "entries": entries}
    GOLDEN.write_text(text(tree) + "\n")
    print(f"{len(entries)} entries written to {GOLDEN}")


if __name__ == "__main__":
    main()
