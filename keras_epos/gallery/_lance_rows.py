"""Rows of a gallery as record batches of a table of LanceDB."""

import json
from urllib.parse import unquote

import numpy as np

from keras_epos._rows import blocks
from keras_epos.gallery._lance_text import column, compared, text

# Rows of a batch.
_ROWS = 8192


def batches(schema, rows, texts, labels, payload, first):
    """Yields the rows as `pyarrow.RecordBatch`es of the table's schema, some at a time.

    Args:
        rows: `Rows`, of which unit rows are written.
        texts: Ids as JSON.
        labels, payload: One for each row.
        first: The order of the first row.
    """
    import pyarrow as pa

    for part in blocks(np.arange(len(rows)), _ROWS):
        columns = {
            "id": [texts[row] for row in part],
            "order": (first + part).tolist(),
            "label": [json.dumps(labels[row]) for row in part],
            "payload": [text(payload[row]) for row in part],
        }
        for name in schema.names:
            if name.startswith(column("")):
                key = unquote(name.removeprefix(column("")))
                columns[name] = [compared(payload[row][key]) if key in payload[row] else None for row in part]
        unit = rows.unit(part).astype(np.float32)
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(unit.reshape(-1)), rows.dim)
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def reader_of(schema, batches):
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(schema, batches)
