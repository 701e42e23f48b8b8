"""The command line of train_cars.py, and what it says about the run."""

import argparse
import difflib
import inspect
import json
from pathlib import Path

import keras

import keras_epos

EXAMPLES = """examples:
  python examples/train_cars.py                                        embedded sample, easy against all positives
  python examples/train_cars.py --data-dir data/cars196                Cars196, EfficientNetV2B0 from ImageNet
  python examples/train_cars.py --data-dir data/cars196 --backbone b.keras --positives all --out runs/all
  python examples/train_cars.py --data-dir data/cars196 --resume       go on after the last complete epoch
"""
# What differs between Cars196 and the embedded sample.
DEFAULTS = {"epochs": (40, 20), "batch": ((10, 8), (4, 32)), "label_noise": (0.0, 0.1)}
USED_BY_SAMPLE = {"data_dir", "out", "export", "resume", "seed", *DEFAULTS}
# What a resumed run may change, and what stands in the record as the loss that it makes.
NOT_RECORDED = {"data_dir", "out", "export", "resume", "evaluate_every"}
OF_THE_LOSS = {"loss", "positives", "easy_k", "negatives", "set"}


def parse_arguments(description, arguments=None):
    parser = argparse.ArgumentParser(description=description, epilog=EXAMPLES, formatter_class=Help)
    data = parser.add_argument_group("data and output")
    data.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder with cars_train/ and devkit/ of Stanford Cars"
    )
    data.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="metrics, pictures, checkpoint; if not given, runs/<data set>, or the next free of runs/<data set>-2, -3",
    )
    data.add_argument("--export", type=Path, metavar="DIR", help="SavedModel; saved_models/<data set> if not given")
    data.add_argument("--resume", action="store_true", help="go on with the run in --out after its last epoch")
    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=positive, metavar="N", help="passes over the training images; 40, sample 20")
    train.add_argument(
        "--batch", type=batch_shape, metavar="PxK", help="classes x samples of each in a batch; 10x8, sample 4x32"
    )
    train.add_argument("--label-noise", type=float, metavar="SHARE", help="wrong training labels; 0, sample 0.1")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="random seed")
    model = parser.add_argument_group("model, on Cars196")
    model.add_argument(
        "--backbone", default="EfficientNetV2B0", metavar="NAME", help=".keras file or keras.applications"
    )
    model.add_argument("--embedding-dim", type=positive, default=512, metavar="N", help="dimensions of the embeddings")
    model.add_argument(
        "--head",
        choices=("directions", "random"),
        default="directions",
        help="how the dense layer starts: as principal directions of the backbone's features, or at random",
    )
    model.add_argument("--freeze", type=float, default=0.3, metavar="SHARE", help="first layers of the backbone kept")
    model.add_argument(
        "--hold-out",
        type=from_zero,
        default=10,
        metavar="N",
        help="classes, the last of those to train, that choose the best weights between start and end of training "
        "and do not train; with 0 the end is kept",
    )
    model.add_argument("--mixed-precision", choices=("float16", "bfloat16"), help="compute the network in half floats")
    loss = parser.add_argument_group("loss, on Cars196")
    names = sorted(keras_epos.losses.LOSSES)
    loss.add_argument("--loss", choices=names, default="nt_xent", metavar="NAME", help=", ".join(names))
    loss.add_argument(
        "--positives",
        choices=("easy", "all", "hard", "random"),
        default="easy",
        help="which positives each anchor is pulled to",
    )
    loss.add_argument(
        "--easy-k", type=positive, default=1, metavar="N", help="nearest positives an anchor is pulled to"
    )
    strategies = ("all", "hard", "semi_hard", "distance_weighted", "random")
    loss.add_argument(
        "--negatives", choices=strategies, metavar="NAME", help=f"{', '.join(strategies)}; default: the loss's own"
    )
    loss.add_argument(
        "--set", type=setting, nargs="*", default=[], metavar="NAME=VALUE", help="other arguments of the loss"
    )
    tuning = parser.add_argument_group("images and optimizer, on Cars196")
    tuning.add_argument("--image-size", type=positive, default=128, metavar="PIXELS", help="in training")
    tuning.add_argument("--test-size", type=positive, default=192, metavar="PIXELS", help="in evaluation and export")
    tuning.add_argument(
        "--smallest-crop", type=float, default=0.5, metavar="SHARE", help="of the image, in random crops"
    )
    tuning.add_argument("--learning-rate", type=float, default=4e-4, metavar="RATE", help="of the backbone, by AdamW")
    tuning.add_argument("--head-learning-rate", type=float, default=1e-3, metavar="RATE", help="of the dense layer")
    tuning.add_argument("--weight-decay", type=float, default=1e-2, metavar="RATE", help="of AdamW")
    tuning.add_argument(
        "--evaluate-every", type=positive, default=5, metavar="EPOCHS", help="measurements for the curve only"
    )
    args = parser.parse_args(arguments)
    is_sample = args.data_dir is None
    if is_sample:
        refuse_what_the_sample_ignores(args, parser)
    for name, by_data_set in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, by_data_set[is_sample])
    return args


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as written, and the default behind every option that has one."""

    def _get_help_string(self, action):
        is_worth_telling = isinstance(action.default, (int, float, str)) and action.default is not False
        return super()._get_help_string(action) if is_worth_telling else action.help


def from_zero(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer from 0. Received: {text}")
    return int(text)


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be an integer from 1. Received: {text}")
    return int(text)


def batch_shape(text):
    try:
        classes, samples = (positive(part) for part in text.split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"must be classes x samples, such as 10x8. Received: {text}") from None
    return classes, samples


def setting(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, such as temperature=0.1. Received: {text}")
    try:
        return name, float(value) if "." in value else json.loads(value)
    except ValueError:
        return name, value


def refuse_what_the_sample_ignores(args, parser):
    ignored = [
        f"--{name.replace('_', '-')}"
        for name, value in vars(args).items()
        if value != parser.get_default(name) and name not in USED_BY_SAMPLE
    ]
    if ignored:
        parser.error(f"--data-dir must be given with {', '.join(ignored)}, which the embedded sample does not use.")


def make_loss(args, labels):
    chosen = {"temperature": 0.05} if args.loss == "nt_xent" else {}
    takes = inspect.signature(keras_epos.losses.LOSSES[args.loss]).parameters
    if "positives" in takes:
        chosen["positives"] = keras_epos.Easy(args.easy_k) if args.positives == "easy" else args.positives
    if takes.get("num_classes") and takes["num_classes"].default is inspect.Parameter.empty:
        chosen["num_classes"] = int(labels.max()) + 1
    if args.negatives:
        chosen["negatives"] = args.negatives
    for name, value in args.set:
        if name not in takes:
            near = difflib.get_close_matches(name, takes, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(takes)}."
            raise ValueError(f"`--set` must name an argument of {args.loss}. Received: {name}. {hint}")
        chosen[name] = value
    return keras_epos.losses.get(args.loss, **chosen)


def settings_of(args, loss, **others):
    """What the run depends on, with its types: options, the loss with all its arguments, and others."""
    left_out = NOT_RECORDED | OF_THE_LOSS | (set() if args.data_dir else vars(args).keys() - USED_BY_SAMPLE)
    used = {name: value for name, value in vars(args).items() if name not in left_out}
    return {**others, **used, "loss": plain(keras.saving.serialize_keras_object(loss))}


def plain(serialized):
    """Nested class names and arguments, without what only Keras needs to read them."""
    if isinstance(serialized, dict) and "class_name" in serialized:
        return {"class": serialized["class_name"], **plain(serialized["config"])}
    if isinstance(serialized, dict):
        return {name: plain(value) for name, value in serialized.items()}
    return serialized
