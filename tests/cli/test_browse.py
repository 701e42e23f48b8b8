"""The page of `browse`: it shows what a search finds, and answers nobody else."""

import io
import re
import shutil
import subprocess
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import SIZE, run
from test_answers import png_of

import keras_epos
from keras_epos.cli import _browse, _lookup
from keras_epos.data import decode_and_resize

pytest.importorskip("flask", reason="browse needs Flask")
HOST = "127.0.0.1:8000"
OURS = {"Host": HOST, "Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def lookup(kept_gallery, model, tmp_path_factory):
    """A gallery with a threshold that some neighbors miss, and a payload."""
    loaded = keras.saving.load_model(model)
    kept = keras_epos.Gallery.load(kept_gallery)
    gallery = keras_epos.Gallery(loaded, threshold=0.995)
    ids = kept.ids.tolist()
    images = np.stack([decode_and_resize(Path(one).read_bytes(), SIZE) for one in ids])
    payload = [{"place": place % 3} for place in range(len(ids))]
    gallery.add(images, ids, kept.labels.tolist(), payload)
    gallery.save(tmp_path_factory.mktemp("browse") / "things")
    return _lookup.Lookup(gallery, loaded, SIZE)


@pytest.fixture(scope="module")
def client(lookup):
    return _browse.app_of(lookup, 5, [HOST], "things").test_client()


def shown(text):
    """`(row, similarity)` of the neighbors on a page."""
    rows = map(int, re.findall(r'<img src="/picture/(\d+)"', text))
    return list(zip(rows, re.findall(r'class="similarity">(-?\d\.\d{3})', text), strict=True))


def expected(lookup, row, k, holds=lambda item: True):
    found = lookup.gallery.search(lookup._embed(lookup.contents(row)), 60, fingerprint=lookup.gallery.fingerprint)
    rows = {one: place for place, one in enumerate(lookup.gallery.ids.tolist())}
    pairs = [(rows[one], f"{value:.3f}") for one, value in zip(found.ids[0], found.similarity[0], strict=True)]
    return [pair for pair in pairs if pair[0] != row and holds(lookup.items[pair[0]])][:k]


def test_neighbors_of_an_image_of_the_gallery_are_those_of_a_search_without_itself(client, lookup):
    for row in (0, 17, 59):
        answer = client.get(f"/image/{row}", headers=OURS)
        assert answer.status_code == 200
        assert shown(answer.text) == expected(lookup, row, 5)
        assert row not in dict(shown(answer.text))


def test_filters_keep_the_ranking(client, lookup):
    label = lookup.items[30].label
    for query, holds in {
        f"label={label}": lambda item: item.label == label,
        "field=place%3D2": lambda item: item.payload["place"] == 2,
        f"label={label}&field=place%3D2": lambda item: item.label == label and item.payload["place"] == 2,
    }.items():
        text = client.get(f"/image/3?{query}", headers=OURS).text
        assert shown(text) == expected(lookup, 3, 5, holds)
        assert shown(text)
        begin = client.get(f"/?{query}", headers=OURS).text
        rows = [int(row) for row in re.findall(r'"/picture/(\d+)"', begin)]
        assert rows == [item.row for item in lookup.items if holds(item)][: _browse.BROWSED]
    assert "No image matches the filter." in client.get("/image/3?label=nothing", headers=OURS).text


def test_a_rare_label_is_found_however_far_it_is(lookup):
    contents = lookup.contents(0)
    far = lookup.neighbors(contents, 60)[-1]
    found = lookup.neighbors(contents, 1, label=far.label)
    assert [one.label for one in found] == [far.label]


def test_wrong_and_accepted_ones_are_marked(client, lookup):
    for row in (0, 25, 47):
        neighbors = lookup.neighbors(lookup.contents(row), 5, row=row)
        text = client.get(f"/image/{row}", headers=OURS).text
        wrong = [one.label != lookup.items[row].label for one in neighbors]
        assert [kind == "wrong" for kind in re.findall(r'<li class="(\w+)">', text)] == wrong
        assert text.count(">wrong</small>") == sum(wrong)
        accepted = [one.similarity >= 0.995 for one in neighbors]
        assert [word == "accepted" for word in re.findall(r">(accepted|unknown)</small>", text)] == accepted


def test_an_image_from_outside_gets_the_answer_of_match(client, lookup):
    noise = io.BytesIO()
    keras.utils.array_to_img(np.random.default_rng(1).uniform(0, 255, (20, 24, 3))).save(noise, "PNG")
    answers = set()
    for contents in (lookup.contents(12), noise.getvalue()):
        text = posted(client, contents).text
        vectors = lookup._embed(contents)
        [label] = lookup.gallery.match(vectors, fingerprint=lookup.gallery.fingerprint).labels
        assert f'<strong class="answer">{label}</strong>' in text
        assert len(shown(text)) == 5
        assert ">wrong</small>" not in text
        answers.add(label)
    assert answers == {lookup.items[12].label, "unknown"}


def posted(client, contents, headers=OURS):
    data = {"image": (io.BytesIO(contents), "x.png")}
    return client.post("/", data=data, headers=headers, content_type="multipart/form-data")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (png_of(30_000, 30_000), "An image must have at most max_pixels="),
        (png_of(9000, 9000), "An image must have at most max_pixels="),
        (png_of(4, 4), "An image must be whole."),
        (b"no image", "An image must be"),
        (b"", "Choose an image first."),
    ],
)
def test_what_is_no_image_is_answered_in_a_sentence(client, contents, words):
    answer = posted(client, contents)
    assert answer.status_code == 422
    assert words in answer.text
    assert "Traceback" not in answer.text


def test_too_many_bytes_are_refused(client):
    answer = posted(client, bytes(_browse.MAX_BYTES + 1))
    assert answer.status_code == 413
    assert "at most 32 MB" in answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"Host": "example.com"},
        {"Host": "example.com:8000", "Origin": "http://example.com:8000"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_nobody_else_is_answered(client, lookup, changed):
    for path in ("/", "/image/0", "/picture/0"):
        assert client.get(path, headers=OURS | changed).status_code == 403
    assert posted(client, lookup.contents(0), OURS | changed).status_code == 403


def test_a_post_without_an_origin_is_refused(client, lookup):
    assert posted(client, lookup.contents(0), {"Host": HOST}).status_code == 403


def test_pictures_have_numbers_and_no_paths(client, lookup, tmp_path):
    answer = client.get("/picture/7", headers=OURS)
    assert answer.content_type == "image/jpeg"
    assert answer.data.startswith(b"\xff\xd8")
    for path in (
        "/picture/60",
        "/image/60",
        "/picture/-1",
        "/picture/..%2f..%2fetc%2fpasswd",
        "/picture/x",
        "/browse.html",
    ):
        answer = client.get(path, headers=OURS)
        assert answer.status_code == 404
        assert answer.text.count("404: Not Found.") == 1


def test_the_page_loads_nothing_from_elsewhere(client):
    answer = client.get("/image/0", headers=OURS)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src 'self' data:; style-src 'nonce-")
    nonce = re.search("'nonce-([^']+)'", policy)[1]
    assert f'<style nonce="{nonce}">' in answer.text
    assert nonce not in client.get("/", headers=OURS).text
    assert "//" not in re.sub('data:[^"]*', "", answer.text)
    assert "<script" not in answer.text
    assert all('alt="' in image and 'alt=""' not in image for image in re.findall("<img[^>]*>", answer.text))


def test_names_are_no_html(lookup, model, tmp_path):
    name = '"><b>.png'
    shutil.copy(lookup.items[0].id, tmp_path / name)
    gallery = keras_epos.Gallery(lookup._model)
    gallery.add(np.ones((2, 8)), [str(tmp_path / name), "gone.png"], ["<i>", None], fingerprint=gallery.fingerprint)
    client = _browse.app_of(_lookup.Lookup(gallery, lookup._model, SIZE), 5, [HOST], "<u>").test_client()
    text = client.get("/image/0?label=%22%3E%3Cs%3E", headers=OURS).text + client.get("/image/0", headers=OURS).text
    assert not re.findall("<(?:b|i|u|s)>", text)
    assert "&lt;i&gt;" in text
    assert 'class="answer"' not in text
    answer = client.get("/image/1", headers=OURS)
    assert (answer.status_code, "gone.png: No such file or directory." in answer.text) == (422, True)
    assert client.get("/picture/1", headers=OURS).status_code == 422


@pytest.fixture
def address(lookup, model, monkeypatch):
    """The page as the command serves it."""
    servers, is_there = [], threading.Event()
    make = _browse.server_maker()

    def kept(*arguments, **options):
        servers.append(make(*arguments, **options))
        is_there.set()
        return servers[0]

    monkeypatch.setattr(_browse, "server_maker", lambda: kept)
    thread = threading.Thread(target=run, args=("browse", lookup.gallery.folder, "--model", model, "-k", 3))
    thread.start()
    assert is_there.wait(60)
    assert servers[0].host == "127.0.0.1"
    yield f"http://127.0.0.1:{servers[0].port}"
    servers[0].shutdown()
    thread.join()


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium here")
def test_a_browser_shows_it(address, lookup, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    command = ["chromium", *options, f"{address}/image/3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown(done.stdout) == expected(lookup, 3, 3)
