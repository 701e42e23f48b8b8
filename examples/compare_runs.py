"""Compare finished runs of train_cars.py: one table, one picture.

python examples/compare_runs.py runs/easy runs/all --out curve.png
python examples/compare_runs.py runs/fashion_sample          the arms of a run of the embedded sample
"""

import argparse
import sys
from pathlib import Path

from plots import draw_curves, print_table, recall_curve
from run_folder import RECORD, read_record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help=f"folders that hold a {RECORD}, or folders of such folders")
    parser.add_argument("--out", type=Path, default=Path("curve.png"), help="picture to write (default: %(default)s)")
    args = parser.parse_args()
    try:
        compare(records_in(args.runs), args.out)
    except (OSError, ValueError) as error:
        sys.exit(f"compare_runs.py: {error}")


def records_in(folders):
    """The record of each run, by a name that no other one has."""
    found = {}
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{RECORD}"))
        for run in [folder] if (folder / RECORD).exists() else inside:
            found[run] = read_record(run)
        if not inside and folder not in found:
            raise ValueError(f"`runs` must be folders in which train_cars.py has written {RECORD}. Received: {folder}.")
    unfinished = [str(run) for run, record in found.items() if "after" not in record]
    if unfinished:
        raise ValueError(f"`runs` must be finished. Received: {', '.join(unfinished)}. Go on with --resume first.")
    names = [run.resolve().name for run in found]
    return {run.resolve().name if names.count(run.resolve().name) == 1 else str(run): found[run] for run in found}


def compare(records, out):
    measures = {name: tuple(record["after"]) for name, record in records.items()}
    if len(set(measures.values())) > 1:
        listed = "; ".join(f"{name}: {', '.join(found)}" for name, found in measures.items())
        raise ValueError(f"`runs` must be of one data set, with the same measures. Received: {listed}.")
    # What the epochs were measured by: the recall of unseen classes, or of the kinds that the classes hide.
    measure = "kind R@1" if "kind R@1" in next(iter(measures.values())) else "recall@1"
    rows, levels = {}, {}
    for what, said in (("backbone", "untrained backbone"), ("before", "before training")):
        found = {name: record[what] for name, record in records.items() if what in record}
        is_one = all(values == next(iter(found.values())) for values in found.values())
        for name, values in found.items():
            rows[said if is_one else f"{said}, {name}"] = values
        if is_one and not levels:
            levels = {name: values[measure] for name, values in rows.items()}
    print_table(rows | {name: record["after"] for name, record in records.items()})
    curves = {name: recall_curve(record["before"], record["history"], measure) for name, record in records.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    title = "Recall@1 of the hidden kinds" if measure == "kind R@1" else "Recall@1 on unseen classes"
    draw_curves(out, curves, title, levels)
    print(f"picture  {out}")


if __name__ == "__main__":
    main()
