"""Set up an environment for the peers that cannot live beside Keras 3: TensorFlow Similarity and tensorflow-addons.

    python benchmarks/peers.py --python python3.11 --into .venv-old-peers
    python benchmarks/losses.py --old-peers .venv-old-peers/bin/python

Takes a Python of 3.9 to 3.11, half a gigabyte of downloads and some minutes. pytorch-metric-learning and faiss need
none of this: `pip install pytorch-metric-learning torch faiss-cpu` beside keras_epos.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HAS_CPU_WHEEL = "platform_machine == 'x86_64' or platform_machine == 'AMD64'"
HAS_NO_CPU_WHEEL = "platform_machine != 'x86_64' and platform_machine != 'AMD64'"
PACKAGES = [
    f"tensorflow-cpu==2.15.1; {HAS_CPU_WHEEL}",
    f"tensorflow==2.15.1; {HAS_NO_CPU_WHEEL}",
    "tensorflow-addons==0.23.0",
    "tensorflow-similarity==0.17.1",
    # Later ones want a newer protobuf than this TensorFlow, and are not needed but complain.
    "tensorflow-metadata<1.16",
]
FITTING = ("3.9", "3.10", "3.11")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="which Python (default: the one that runs this)")
    parser.add_argument("--into", type=Path, default=Path(".venv-old-peers"), help="folder of the environment")
    args = parser.parse_args()
    asked = [args.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        parser.error(f"`--python` must be a Python. Received: --python {args.python} ({error})")
    if version not in FITTING:
        wanted = ", ".join(FITTING)
        parser.error(f"`--python` must be one of {wanted}, as TensorFlow 2.15 needs. Received: Python {version}")
    subprocess.run([args.python, "-m", "venv", args.into], check=True)
    python = args.into / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    print(f"python benchmarks/losses.py --old-peers {python}")


if __name__ == "__main__":
    main()
