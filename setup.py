"""Package metadata. No TensorFlow among the requirements: naming it would overwrite `tensorflow-cpu` in silence."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "keras_epos" / "__init__.py").read_text())[1]

HAS_CPU_WHEEL = "platform_machine == 'x86_64' or platform_machine == 'AMD64'"
HAS_NO_CPU_WHEEL = "platform_machine != 'x86_64' and platform_machine != 'AMD64'"
# Read Cars196's annotations, draw curves and neighbors, find clusters.
DATA = ["scipy>=1.11", "matplotlib>=3.8", "pillow>=10", "scikit-learn>=1.4"]
# What `keras_epos.export` writes with and checks in. LiteRT is written by TensorFlow itself.
ONNX = ["onnx>=1.23", "onnxruntime>=1.32", "tf2onnx>=1.17"]
OPENVINO = ["openvino>=2026.4", "nncf>=3.4"]
LITERT = ["ai-edge-litert>=2.3"]
# The page of `keras-epos browse`.
BROWSE = ["flask>=3.1", "pillow>=10"]

setup(
    name="keras-epos",
    version=VERSION,
    description="Deep metric learning for Keras 3 with easy positive sampling",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "keras_epos/data/fashion_sample.LICENSE"],
    packages=find_packages(include=["keras_epos", "keras_epos.*"]),
    package_data={"keras_epos.data": ["fashion_sample.*"], "keras_epos.cli": ["browse.html"]},
    python_requires=">=3.11,<3.14",
    install_requires=["keras>=3.15,<4", "numpy>=1.26", "click>=8.1"],
    entry_points={"console_scripts": ["keras-epos=keras_epos.cli:main"]},
    extras_require={
        "cpu": [f"tensorflow-cpu>=2.21,<2.22; {HAS_CPU_WHEEL}", f"tensorflow>=2.21,<2.22; {HAS_NO_CPU_WHEEL}", *DATA],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22; sys_platform == 'linux'", *DATA],
        "jax": ["jax>=0.6", *DATA],
        "torch": ["torch>=2.6", *DATA],
        "data": [*DATA, "tensorflow-datasets>=4.9.10", "importlib_resources"],
        # On a CPU-only machine `pip install --no-deps keras-hub` avoids TensorFlow for GPUs; see docs/backbones.md.
        "hub": ["keras-hub>=0.32"],
        "faiss": ["faiss-cpu>=1.12"],
        "lancedb": ["lancedb>=0.40", "pyarrow>=16"],
        "ray": ["ray[data]>=2.50", "pyarrow>=16"],
        "qdrant": ["qdrant-client>=1.16"],
        "onnx": ONNX,
        "openvino": OPENVINO,
        "litert": LITERT,
        "browse": BROWSE,
        # It brings array_record, but for Windows; google-crc32c is for TFRecords without TensorFlow.
        "grain": ["grain>=0.2.18", "google-crc32c>=1.7"],
        "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100", "ruff>=0.14", *ONNX, *DATA, *BROWSE],
        "docs": ["zensical>=0.0.70,<0.1", "mkdocstrings[python]>=1.0"],
        "dev": ["build>=1.2", "pre-commit>=4"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    keywords="metric learning, keras, tensorflow, triplet loss, image retrieval, re-identification",
)
