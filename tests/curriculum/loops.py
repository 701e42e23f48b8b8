"""CurriculumNet's formulas as plain loops over pairs: the oracle."""

import itertools
import math

import numpy as np


def distances(rows):
    return [[math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True))) for other in rows] for one in rows]


def cutoff(rows, quantile):
    flat = sorted(itertools.chain.from_iterable(distances(rows)))
    return flat[int(len(rows) ** 2 * quantile)]


def quantile_density(rows, quantile):
    limit = cutoff(rows, quantile)
    return [sum(entry < limit for entry in row) - 1 for row in distances(rows)]


def gaussian_density(rows):
    table = distances(rows)
    largest = max(map(max, table)) or 1
    return [sum(math.exp(-((entry / largest) ** 2) / 2) / math.sqrt(2 * math.pi) for entry in row) for row in table]


def nearest_density(rows, neighbors):
    table = distances(rows)
    others = [sorted(row[:i] + row[i + 1 :]) for i, row in enumerate(table)]
    return [-row[min(neighbors, len(row)) - 1] if row else 0.0 for row in others]


def peak_distance(rows, density):
    found = []
    for i, row in enumerate(distances(rows)):
        denser = [entry for j, entry in enumerate(row) if density[j] > density[i]]
        found.append(min(denser) if denser else max(row))
    return found


def agreement(rows, labels, neighbors):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for i in range(len(rows)):
        order = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -float(unit[i] @ unit[j]))[:neighbors]
        found.append(sum(labels[j] == labels[i] for j in order) / len(order))
    return found


def least_cost(values, num_clusters):
    """The least sum of squares over all ways to cut the sorted values into clusters."""
    ordered = sorted(values)
    cuts = range(1, len(ordered))
    return min(
        sum(_sum_of_squares(ordered[a:b]) for a, b in itertools.pairwise([0, *chosen, len(ordered)]))
        for chosen in itertools.combinations(cuts, min(num_clusters, len(ordered)) - 1)
    )


def cost_of(values, bounds):
    """The sum of squares of the clusters that begin at `bounds`."""
    places = np.searchsorted(bounds, values, side="right")
    return sum(_sum_of_squares([v for v, p in zip(values, places, strict=True) if p == one]) for one in set(places))


def _sum_of_squares(values):
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)
