"""Work in parts, so that memory does not grow with the number of queries times that of references."""

# Numbers in a temporary float64 array on the host: 32 MB.
CHUNK = 2**22


def blocks(index, size):
    """Yields `size` entries of `index` at a time."""
    for start in range(0, len(index), size):
        yield index[start : start + size]


def chunks(index, width):
    """Yields as many entries of `index` at a time as fit into memory with `width` numbers each."""
    return blocks(index, max(1, CHUNK // width))
