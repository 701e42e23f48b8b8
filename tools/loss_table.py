"""Write docs/losses.md: every loss, its formula and paper, and how closely the peers agree.

    python tools/loss_table.py

Formulas and papers come from the docstrings; agreement is computed here, in float64, from the golden numbers of the
peers that the tests use.
"""

import inspect
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "losses")]

import numpy as np
import test_peers_log_sum_exp
import test_peers_pairs
import test_peers_proxies
from loss_cases import numpy, tensor, value_and_gradient
from proxy_cases import value_and_gradients

from keras_epos import losses

PML = test_peers_pairs.PML
SAME = {
    **test_peers_pairs.SAME,
    **test_peers_log_sum_exp.SAME,
    "intra-pair variance": losses.IntraPairVarianceLoss(0.01, 0.01, dtype="float64"),
    "intra-pair variance eps": losses.IntraPairVarianceLoss(0.05, 0.1, dtype="float64"),
    "FastAP": losses.FastAPLoss(10, dtype="float64"),
    "FastAP 20": losses.FastAPLoss(20, dtype="float64"),
}
# Where the definitions differ, and by how much; a test pins each.
DIFFERS = {
    "ada_face": "has none; the authors' code agrees to 1e-10 / 1e-7",
    "mag_face": "has none; the authors' code agrees to 1e-10 / 1e-7",
    "elastic_arc_face": "has none; the authors' code without the draws agrees to 1e-10 / 1e-7",
    "elastic_cos_face": "has none; the authors' code without the draws agrees to 1e-10 / 1e-7",
    "pnp": "PML, as the authors, counts the anchor among its own positives; the same but for that",
    "recall_at_k": "has none; the authors' code counts the query among its own references; the same but for that",
    "angular": "the same value; PML leaves negatives undivided by their norm, which adds a gradient along the rows",
    "contrastive": "the same pair weights; PML adds the mean of the positives and that of the negatives, here it is one "
    "mean",
    "easy_positive_hard_negative": "`BatchEasyHardMiner` with `NTXentLoss` does not apply the filtering rules of the authors' code: "
    "1.986 against 2.777 on a batch where two anchors of 16 are dropped",
    "margin": "PML counts a pair once for each triplet it is in: 0.4253 against 0.4192 on a balanced batch",
    "n_pairs": "PML takes one pair of each class: 2.2385 against 1.6057 on six pairs; the same on those pairs alone",
    "ranked_list": "PML differentiates the weights that the authors hold constant: gradients 15 to 35 % apart; and adds "
    "1e-5 for each row to their sum",
    "smooth_ap": "PML, as the authors, counts the anchor among its own positives; the same but for that",
    "snr_contrastive": "the same terms; PML adds the mean of the positives and that of the negatives",
}
MEAN = {"average_over": "valid", "dtype": "float64"}
# A loss of tensorflow-addons with its settings, and the same of ours, on unit rows.
SAME_AS_TFA = [
    ("triplet_semihard_loss", {}, losses.TripletLoss(1.0, "euclidean", **MEAN)),
    ("triplet_semihard_loss", {"margin": 0.2}, losses.TripletLoss(0.2, "euclidean", **MEAN)),
    ("triplet_hard_loss", {}, losses.TripletLoss(1.0, "euclidean", "hard", "hard", **MEAN)),
    ("triplet_hard_loss", {"soft": True}, losses.TripletLoss("soft", "euclidean", "hard", "hard", **MEAN)),
    ("lifted_struct_loss", {}, losses.LiftedStructureLoss(1.0, **MEAN)),
]
OF_OTHER_INPUTS = {
    "n_pairs": "takes a similarity matrix: `compat.tfa.NpairsLoss`",
    "contrastive": "takes distances: `compat.tfa.ContrastiveLoss`",
}
HEAD = """| loss | one anchor or sample | agreement |
|---|---|---|"""
KERAS = """- `keras.losses.Circle` has the value of `CircleLoss` and another gradient: it differentiates the two factors that the paper holds
  constant (norm 17.4 against 10.6 on one batch).
- TensorFlow Similarity's semi-hard negatives are those beyond the *hardest* positive even with easy positives. Here they are those
  beyond the selected positive.
- If multi-similarity's mining leaves an anchor with positives but no negatives (or the reverse), the authors' code drops the anchor. We
  keep its remaining pairs, as the paper and pytorch-metric-learning do.
"""


def main():
    agreement, of_tfa = agreements(), agreements_with_tfa()
    tables = {"pairs": [], "proxies": [], "towers": []}
    for name, loss in sorted(losses.LOSSES.items()):
        if loss is losses.EasyPositiveTripletLoss:
            continue
        agrees = agreement.get(name, DIFFERS.get(name, "has none"))
        agrees = agrees if agrees.startswith("PML") else "PML: " + agrees
        if name in of_tfa or name in OF_OTHER_INPUTS:
            agrees += ". TFA: " + of_tfa.get(name, OF_OTHER_INPUTS.get(name))
        cells = [f"`{loss.__name__}` {paper(loss)}", formula(loss), agrees]
        row = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        of_two = "towers" if issubclass(loss, losses.TwoTowerLoss) else "pairs"
        tables["proxies" if issubclass(loss, losses.ProxyLoss) else of_two].append(row)
    text = f"""# All losses

Made by `python tools/loss_table.py`; do not edit. `S` is the cosine similarity, `D` the Euclidean distance of unit rows, `a` the
anchor, `p` its selected positives, `n` its selected negatives. Other symbols, and the pair weights, are explained in each loss's
docstring. To find the loss for your data see [choose a loss](choose_a_loss.md).

The last column says how closely other libraries agree: the largest relative difference of value / gradient over the golden batches,
in float64. PML is pytorch-metric-learning 2.9.0, TFA is tensorflow-addons 0.23.0, whose numbers are float32. Where definitions differ, it says what
differs. TFA does not divide rows by their norm: on unit rows its gradient is compared without the part along them.
`keras_epos.compat.tfa` has all losses of TFA.

## Over pairs

A batch needs two classes, and two samples of a class. All take `positives=` and `negatives=`, except `EasyPositiveHardNegativeLoss`,
whose pairs are fixed.

{HEAD}
{chr(10).join(tables["pairs"])}

`EasyPositiveTripletLoss` is `TripletLoss(positives="easy")`.

## With proxies

They compare samples with trained vectors, so a batch needs nothing. `y` is the class of sample `i`.

{HEAD}
{chr(10).join(tables["proxies"])}

## Of two towers

Each sample is a pair of two kinds, such as a query and a document. The model returns both embeddings, one behind the other.

{HEAD}
{chr(10).join(tables["towers"])}

## Other libraries

{KERAS}"""
    (ROOT / "docs" / "losses.md").write_text(text)
    print("docs/losses.md")


def formula(loss):
    """The first formula of the docstring, up to the line that begins another."""
    block = re.search(r"\n\n((?: {4,}\S.*\n)+)", inspect.getdoc(loss) + "\n")[1].splitlines()
    text = block[0].strip()
    for line in block[1:]:
        if re.match(r"\s*[\w+_~-]+(_\w+)? = |\s*weight", line) or text.count("(") == text.count(")"):
            break
        text += " " + line.strip()
    return f"`{text.rstrip(',;')}`"


def paper(loss):
    reference = re.search(r"References?: (.+?\d{4}).*?(https?://[^\s,;]+)", inspect.getdoc(loss), re.DOTALL)
    return f"[{' '.join(reference[1].split())}]({reference[2].rstrip('.')})"


def agreements():
    """Name of a loss: its largest relative difference of value and of gradient, over all entries of the peer."""
    found = {}
    names = {loss: name for name, loss in losses.LOSSES.items()}
    for entry, loss in SAME.items():
        for batch in PML["entries"][entry]["batches"]:
            labels, rows, value, gradient = test_peers_pairs.golden(entry, batch)
            ours = value_and_gradient(loss, labels, tensor(rows))
            found.setdefault(names[type(loss)], []).append(differences(ours, (value, gradient)))
    for entry, batch in test_peers_proxies.BATCHES:
        loss, labels, rows, peer = test_peers_proxies.ours(entry, batch)
        value, by_rows, _ = value_and_gradients(loss, labels, tensor(rows))
        pair = differences((value, by_rows), (peer["value"], np.array(peer["gradient"])))
        found.setdefault(names[type(loss)], []).append(pair)
    return {name: "{:.0e} / {:.0e}".format(*np.max(pairs, axis=0)) for name, pairs in found.items()}


def agreements_with_tfa():
    found = {}
    names = {loss: name for name, loss in losses.LOSSES.items()}
    tfa = test_peers_log_sum_exp.TFA
    for of_tfa, settings, loss in SAME_AS_TFA:
        for batch in ("random", "balanced", "pairs"):
            wanted = {"loss": of_tfa, "settings": settings, "batch": batch}
            (case,) = (case for case in tfa["cases"] if "dtype" not in case and wanted.items() <= case.items())
            labels, rows = (np.array(tfa["batches"][batch][key]) for key in ("labels", "embeddings"))
            gradient = np.array(case["gradient"])
            gradient -= np.sum(gradient * rows, axis=1, keepdims=True) * rows
            ours = value_and_gradient(loss, labels, tensor(rows))
            found.setdefault(names[type(loss)], []).append(differences(ours, (case["value"], gradient)))
    return {name: "{:.0e} / {:.0e}".format(*np.max(pairs, axis=0)) for name, pairs in found.items()}


def differences(ours, theirs):
    value, gradient = (numpy(part) for part in ours)
    return (
        abs(value - theirs[0]) / abs(theirs[0]),
        np.linalg.norm(gradient - theirs[1]) / np.linalg.norm(theirs[1]),
    )


if __name__ == "__main__":
    main()
