"""Points of a Qdrant collection, in the local mode of its client: no server was at hand."""

import sys

import numpy as np
import pytest
from gallery_oracle import clustered

import keras_epos
from keras_epos.gallery import write_to_qdrant

ROWS = clustered(50, 8, seed=0)
IDS = [f"one {number}" if number % 2 else number for number in range(50)]


@pytest.fixture
def client():
    return pytest.importorskip("qdrant_client", reason="the client of Qdrant is not installed").QdrantClient(":memory:")


def gallery(**settings):
    made = keras_epos.Gallery(fingerprint="rows", **settings)
    made.add(3 * ROWS, IDS, [f"class {number // 10}" for number in range(50)], [{"n": number} for number in range(50)])
    return made


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_it_finds_what_the_gallery_finds(client, storage):
    made = gallery(storage=storage)
    made.remove(IDS[:3])
    assert write_to_qdrant(made, client, "things", batch_size=7) == 47
    expected = made.search(ROWS[:5], 4)
    for query, ids, similarity, label in zip(
        ROWS, expected.ids, expected.similarity, expected.labels[:, 0], strict=False
    ):
        points = client.query_points("things", query.tolist(), limit=4).points
        assert [point.payload["id"] for point in points] == ids.tolist()
        np.testing.assert_allclose([point.score for point in points], similarity, atol=1e-6)
        assert points[0].payload["label"] == label
        assert points[0].payload["payload"] == {"n": made.search(query[None], 1).payload[0, 0]["n"]}


def test_to_write_again_changes_nothing_and_goes_on(client):
    made = gallery()
    assert write_to_qdrant(made, client, "things") == 50
    assert write_to_qdrant(made, client, "things") == 0
    made.add(ROWS[:1], [IDS[9]], ["new"], replace=True)
    assert write_to_qdrant(made, client, "things") == 1
    assert client.count("things").count == 50


def test_a_write_that_was_cut_off_goes_on(client, monkeypatch):
    made, upsert, left = gallery(), client.upsert, [3]

    def failing(*arguments, **settings):
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("gone")
        return upsert(*arguments, **settings)

    monkeypatch.setattr(client, "upsert", failing)
    with pytest.raises(ConnectionError):
        write_to_qdrant(made, client, "things", batch_size=10)
    assert client.count("things").count == 30
    left[0] = 10
    assert write_to_qdrant(made, client, "things", batch_size=10) == 20
    assert client.count("things").count == 50


def test_refused(client):
    from qdrant_client import models

    made = gallery()
    write_to_qdrant(made, client, "things")
    other = keras_epos.Gallery(fingerprint="another")
    other.add(ROWS, IDS)
    with pytest.raises(ValueError, match="must be of the fingerprint of the gallery, 'another'"):
        write_to_qdrant(other, client, "things")
    for name, size, distance in (("dots", 8, models.Distance.DOT), ("longer", 9, models.Distance.COSINE)):
        client.create_collection(name, models.VectorParams(size=size, distance=distance))
        with pytest.raises(ValueError, match="one vector of 8 numbers by cosine"):
            write_to_qdrant(made, client, name)
    with pytest.raises(ValueError, match="`gallery` must have rows"):
        write_to_qdrant(keras_epos.Gallery(), client, "none")
    assert not client.collection_exists("none")


def test_without_the_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(ImportError, match=r"keras-epos\[qdrant\]"):
        write_to_qdrant(gallery(), None, "things")
