"""Compare finished runs of train_cars.py: one table, one picture.

python examples/compare_runs.py runs/easy runs/all --out curve.png
"""

import argparse
import json
from pathlib import Path

from plots import draw_curves, print_table, recall_curve


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders that hold a metrics.json")
    parser.add_argument("--out", type=Path, default=Path("curve.png"), help="picture to write (default: %(default)s)")
    args = parser.parse_args()
    records = {folder.name: json.loads((folder / "metrics.json").read_text()) for folder in args.runs}
    unfinished = [name for name, record in records.items() if "after" not in record]
    if unfinished:
        parser.error(f"runs must be finished; resume {', '.join(unfinished)} first")
    before = next(iter(records.values()))["before"]
    print_table({"before training": before} | {name: record["after"] for name, record in records.items()})
    curves = {name: recall_curve(record["before"], record["history"]) for name, record in records.items()}
    draw_curves(args.out, curves, "Recall@1 on unseen classes")


if __name__ == "__main__":
    main()
