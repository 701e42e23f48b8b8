"""Runs one signature of a SavedModel where neither keras nor keras_epos can be imported.

python no_keras.py DIRECTORY SIGNATURE INPUT=FILE.npy OUT.npy
"""

import sys

for name in ("keras", "keras_epos", "tf_keras"):
    sys.modules[name] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

directory, signature, feed, out = sys.argv[1:]
name, path = feed.split("=")
value = np.load(path, allow_pickle=True)
function = tf.saved_model.load(directory).signatures[signature]
outputs = function(**{name: tf.constant(value.tolist() if value.dtype == object else value)})
if set(outputs) != {"embedding"} | ({"valid"} if signature == "embed_bytes" else set()):
    raise SystemExit(f"outputs are {list(outputs)}")
np.save(out, outputs["embedding"].numpy())
