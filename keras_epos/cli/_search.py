"""`keras-epos search`."""

import html
import json
from pathlib import Path

import click

from keras_epos import Gallery
from keras_epos.cli._embedding import embed_images
from keras_epos.cli._files import MODEL, SOURCE, image_size_of, images_in, load_model, replace
from keras_epos.cli._pictures import as_address, check_pillow, small_picture


@click.command(short_help="Find the images of a gallery that are like others.")
@click.argument("model", type=MODEL)
@click.argument("gallery", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("queries", type=SOURCE, nargs=-1, required=True)
@click.option("-k", type=click.IntRange(1), default=5, show_default=True, help="How many of each query.")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with the pictures too.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each query.")
def search(model, gallery, queries, k, image_size, page, as_json):
    """Find what is most like each of QUERIES, images or folders of images, in GALLERY.

    MODEL must be the one that GALLERY was made with. Where the gallery has a threshold, each query also gets an answer:
    the label of its nearest image, or "unknown".
    """
    paths = [str(path) for query in queries for path in (images_in(query) if query.is_dir() else [query])]
    loaded = load_model(model)
    opened = Gallery.load(gallery, loaded)
    embeddings, rows, bad = embed_images(loaded, paths, image_size_of(loaded, image_size))
    for place, reason in bad.items():
        click.echo(f"{paths[place]}: {reason}", err=True)
    made_by = {"fingerprint": opened.fingerprint}
    found = opened.search(embeddings, min(k, len(opened)), **made_by)
    answers = [None] * len(rows)
    if opened.threshold is not None:
        answers = opened.match(embeddings, **made_by).labels.tolist()
    results = [
        {
            "query": paths[row],
            **({} if opened.threshold is None else {"answer": answer}),
            "found": [
                {"id": one, "label": label, "similarity": round(float(similarity), 6)}
                for one, label, similarity in zip(*columns, strict=True)
            ],
        }
        for row, answer, *columns in zip(rows, answers, found.ids, found.labels, found.similarity, strict=True)
    ]
    for result in results:
        click.echo(json.dumps(result) if as_json else lines_of(result))
    if page:
        replace(page, lambda path: path.write_text(page_of(results), encoding="utf-8"))
        click.echo(f"{page}: {len(results):,} queries", err=True)


def lines_of(result):
    answer = f": {result['answer']}" if "answer" in result else ""
    found = [f"  {one['similarity']:.3f}  {one['label']}  {one['id']}" for one in result["found"]]
    return "\n".join([f"{result['query']}{answer}", *found])


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>What is like it</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; }}
section {{ display: flex; gap: 12px; flex-wrap: wrap; padding: 14px 0; border-top: 1px solid #ddd; }}
figure {{ margin: 0; width: 168px; }}
img {{ width: 160px; height: 120px; object-fit: contain; border: 4px solid #ddd; background: #eee; }}
figure.query img {{ border-color: #00796b; }}
figcaption {{ font-size: 13px; overflow-wrap: anywhere; }}
small {{ color: #777; }}
</style>
<h1>What is like it</h1>
{sections}
</html>
"""


def page_of(results):
    """One HTML page that needs no other file."""
    check_pillow()
    sections = []
    for result in results:
        figures = [figure(result["query"], result.get("answer", "query"), "", "query")]
        figures += [figure(one["id"], one["label"], f"{one['similarity']:.3f}") for one in result["found"]]
        sections.append(f"<section>{''.join(figures)}</section>")
    return PAGE.format(sections="\n".join(sections))


def figure(path, label, similarity, kind=""):
    label, name = html.escape(str(label)), html.escape(Path(path).name)
    picture = f'<img src="{thumbnail(path)}" alt="{label}, {name}">'
    caption = f"<figcaption>{label} {similarity}<br><small>{name}</small></figcaption>"
    return f'<figure class="{kind}">{picture}{caption}</figure>'


# A dot that nobody sees, on the gray of the page.
NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def thumbnail(path):
    """An image as an address, small; nothing where the file is gone or cannot be shown."""
    try:
        return as_address(small_picture(Path(path).read_bytes()))
    except (OSError, ValueError):
        return NOTHING
