"""Exact clusters on a line, the split of classes, and what is kept of it."""

import csv

import loops
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_epos import curriculum

NUMBERS = st.one_of(st.integers(-5, 5), st.floats(-100, 100)).map(lambda number: round(float(number), 6))


@settings(max_examples=150, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=12), st.integers(1, 5))
@example([0.0, 1.0, 2.0, 3.0], 3)
@example([1.0, 1.0, 1.0, 1.0, 1.0], 3)
def test_clusters_cost_as_little_as_the_best_of_all(values, num_clusters):
    bounds = curriculum.cluster_bounds(values, num_clusters)
    assert len(bounds) == min(num_clusters, len(set(values)))
    assert set(bounds) <= set(values)
    assert bounds[0] == min(values)
    assert (np.diff(bounds) > 0).all()
    least = loops.least_cost(values, num_clusters)
    assert loops.cost_of(values, bounds) <= least + 1e-9 * max(1.0, max(map(abs, values)) ** 2)


def test_many_values_are_clustered_as_well_as_a_search_of_every_bound():
    values = np.concatenate([np.random.default_rng(0).normal(center, 1, 150) for center in (0, 4, 9)])
    first, second = curriculum.cluster_bounds(values, 3)[1:]
    ordered = np.sort(values)
    around = [ordered[max(0, np.searchsorted(ordered, bound) - 3) :][:7] for bound in (first, second)]
    best = loops.cost_of(values, [ordered[0], first, second])
    assert all(best <= loops.cost_of(values, [ordered[0], a, b]) + 1e-9 for a in around[0] for b in around[1])


def test_of_equally_good_clusters_the_densest_is_the_largest():
    np.testing.assert_array_equal(curriculum.cluster_bounds([0.0, 1.0, 2.0, 3.0], 3), [0, 1, 2])
    np.testing.assert_array_equal(curriculum.cluster_bounds([0.0, 1.0, 2.0], 2), [0, 1])


def test_values_that_differ_by_rounding_share_a_cluster():
    values = [1.0, np.nextafter(1.0, 2), np.nextafter(1.0, 0)]
    assert len(curriculum.cluster_bounds(values, 3)) == 1
    assert not curriculum.split_by(values, [0, 0, 0]).parts.any()


def test_each_class_is_split_for_itself():
    density = [9.0, 5.0, 1.0, 90.0, 50.0, 10.0, 7.0, 3.0, 3.0, 3.0]
    labels = ["a", "a", "a", "b", "b", "b", "alone", "pair", "pair", "pair"]
    split = curriculum.split_by(density, labels)
    np.testing.assert_array_equal(split.parts, [0, 1, 2, 0, 1, 2, 0, 0, 0, 0])
    np.testing.assert_array_equal(split.sizes, [6, 2, 2])
    shuffled = np.random.default_rng(0).permutation(10)
    again = curriculum.split_by(np.array(density)[shuffled], np.array(labels)[shuffled])
    np.testing.assert_array_equal(again.parts, split.parts[shuffled])


def test_two_densities_make_clean_and_noisy():
    np.testing.assert_array_equal(curriculum.split_by([1.0, 2.0, 2.0], [4, 4, 4]).parts, [1, 0, 0])


@pytest.mark.parametrize("num_parts", [1, 2, 5])
def test_other_numbers_of_parts(num_parts):
    split = curriculum.split_by(np.arange(50.0), np.zeros(50, int), num_parts)
    assert split.num_parts == num_parts
    assert set(split.parts) == set(range(num_parts))
    assert (np.diff(split.parts) <= 0).all()


@pytest.mark.parametrize("labels", [[3, -1, 3, 7], ["b", "a, of a kind", "b", "ü"]])
def test_saved_parts_load_again(tmp_path, labels):
    split = curriculum.Parts(np.array(labels), np.array([0.1, 1 / 3, -2e-17, 4.0]), np.array([0, 1, 0, 2]), 4)
    split.save(tmp_path / "parts.csv", names=["a.jpg", "b, c.jpg", "d.jpg", "e.jpg"])
    again = curriculum.Parts.load(tmp_path / "parts.csv")
    np.testing.assert_array_equal(again.labels, split.labels)
    np.testing.assert_array_equal(again.density, split.density)
    np.testing.assert_array_equal(again.parts, split.parts)
    assert again.num_parts == 4
    assert len(again) == 4
    rows = list(csv.reader((tmp_path / "parts.csv").open(encoding="utf-8")))
    assert rows[:2] == [["# num_parts=4"], ["sample", "label", "density", "part", "name"]]
    assert rows[3][3:] == ["1", "b, c.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["parts.csv"]


@pytest.mark.parametrize(
    ("top", "num_parts"),
    [("sample of 4 parts,label", 4), ("# num_parts=4\nsample,label", 4), ("sample,label", 3)],
)
def test_files_of_before_and_files_tidied_by_hand_load(tmp_path, top, num_parts):
    (tmp_path / "parts.csv").write_text(f"{top},density,part\n0,7,0.5,0\n1,7,0.25,2\n")
    found = curriculum.Parts.load(tmp_path / "parts.csv")
    assert found.parts.tolist() == [0, 2]
    assert found.num_parts == num_parts


@pytest.mark.parametrize("text", ["", "sample,label\n", "sample of 3 parts,label,density,part\n1,0,1.0,0\n"])
def test_other_files_are_turned_away(tmp_path, text):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ValueError, match="`path` must be a file written by"):
        curriculum.Parts.load(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("density", "num_parts", "message"),
    [
        ([1.0], 3, "`density` must be a finite number for each"),
        ([1.0, np.nan], 3, "finite"),
        ([1.0, 2.0], 0, "num_parts"),
    ],
)
def test_wrong_arguments_are_named(density, num_parts, message):
    with pytest.raises(ValueError, match=message):
        curriculum.split_by(density, [0, 0], num_parts)


@pytest.mark.parametrize("num_parts", [2, 3])
def test_the_picture_is_drawn(tmp_path, num_parts):
    pytest.importorskip("matplotlib")
    split = curriculum.split_by(np.arange(40.0), np.arange(40) % 2, num_parts)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    path = tmp_path / "parts.png"
    curriculum.draw_parts(path, split, images, np.arange(40) < 9, ["left", "right"], examples=3)
    assert path.stat().st_size > 5_000
    with pytest.raises(ValueError, match="`images` must be one for each of 40 samples"):
        curriculum.draw_parts(path, split, images[:39])
