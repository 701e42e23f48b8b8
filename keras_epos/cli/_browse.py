"""`keras-epos browse`: a page of this machine alone, on which a gallery is looked at and asked."""

import functools
import secrets
import socket
from pathlib import Path

import click

from keras_epos import Gallery
from keras_epos.cli._files import MODEL, image_size_of, load_model
from keras_epos.cli._lookup import Lookup
from keras_epos.cli._pictures import as_address, check_pillow, small_picture

# No other machine reaches it.
ADDRESS = "127.0.0.1"
MAX_BYTES = 2**25
# Images to begin with, and choices that a list offers.
BROWSED, CHOICES = 48, 1000
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@click.command(short_help="Look at a gallery in a browser, and ask it.")
@click.argument("gallery", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", type=MODEL, help="That of the gallery.  [default: model.keras beside it]")
@click.option("-k", type=click.IntRange(1, 200), default=24, show_default=True, help="How many neighbors.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of this machine.  [default: one that is free]")
@click.option("--image-size", type=click.IntRange(1), help="Side in pixels, for a model of any size.")
def browse(gallery, model, k, port, image_size):
    """Show the images of GALLERY on a page that this machine alone can open, until Ctrl-C.

    Drop an image on it, or click on one of the gallery: the page shows its neighbors with their similarities, and
    whether they are accepted where the gallery has a threshold. The label of an image of the gallery is known, so
    neighbors of another label are marked as wrong.

    The images are read where they were when the gallery was made: begin in the same folder if their paths were
    relative. The gallery is read at the start, and not changed.
    """
    make_server = server_maker()
    model = model or gallery.resolve().parent / "model.keras"
    if not model.exists():
        raise ValueError(f"--model must be given where there is no model.keras beside GALLERY. Looked for: {model}.")
    loaded = load_model(model)
    lookup = Lookup(Gallery.load(gallery, loaded), loaded, image_size_of(loaded, image_size))
    try:
        listening = socket.create_server((ADDRESS, port or 0))
    except OSError as error:
        raise ValueError(f"--port must be free. Received: {port}; {error.strerror}.") from error
    with listening:
        port = listening.getsockname()[1]
        app = app_of(lookup, k, [f"{ADDRESS}:{port}", f"localhost:{port}"], gallery.resolve().name)
        server = make_server(ADDRESS, port, app, threaded=True, fd=listening.fileno())
        click.echo(f"{len(lookup.items):,} images: http://{ADDRESS}:{port}/ until Ctrl-C")
        server.serve_forever()


def server_maker():
    """What makes the server; or what is missing, in a sentence."""
    check_pillow()
    try:
        import flask  # noqa: F401
        from werkzeug import serving
    except ImportError as error:
        raise ValueError("This command needs Flask: pip install keras-epos[browse].") from error

    class Quiet(serving.WSGIRequestHandler):
        def log_request(self, *_):
            pass

    return functools.partial(serving.make_server, request_handler=Quiet)


def app_of(lookup, k, hosts, name):
    """The Flask application, which answers under the names of `hosts` only."""
    import flask
    from werkzeug.exceptions import HTTPException

    app = flask.Flask(__name__, template_folder=".", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    pictures = functools.lru_cache(2000)(lambda row: small_picture(lookup.contents(row)))

    @app.before_request
    def check_sender():
        """Other pages, and names of other machines that lead here (DNS rebinding), are turned away."""
        request = flask.request
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        is_ours = host in hosts and origin in (None, f"http://{host}")
        is_ours &= request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        if not is_ours or (request.method == "POST" and origin is None):
            return "This page answers to itself alone.\n", 403, {"Content-Type": "text/plain"}
        flask.g.nonce = secrets.token_urlsafe(16)
        return None

    @app.after_request
    def protect(response):
        response.headers.update(HEADERS)
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=flask.g.get("nonce", ""))
        return response

    def page(code=200, **shown):
        asked = {one: flask.request.values.get(one, "") for one in ("label", "field")} if code != 413 else {}
        choices = {"labels": lookup.labels[:CHOICES], "fields": lookup.fields[:CHOICES]}
        shown = {"name": name, "number": len(lookup.items), "threshold": lookup.gallery.threshold, **choices, **shown}
        return flask.render_template("browse.html", asked=asked, nonce=flask.g.nonce, **shown), code

    def found(contents, row=None):
        values = flask.request.values
        try:
            neighbors = lookup.neighbors(contents, k, values.get("label", ""), values.get("field", ""), row)
        except ValueError as error:
            return page(422, row=row, fault=str(error))
        query = {"row": row, "item": None if row is None else lookup.items[row]}
        picture = as_address(small_picture(contents))
        return page(neighbors=neighbors, answer=lookup.answer(neighbors), picture=picture, **query)

    def checked(row):
        if not 0 <= row < len(lookup.items):
            flask.abort(404)
        return row

    @app.get("/")
    def begin():
        values = flask.request.values
        return page(browsed=lookup.browsed(BROWSED, values.get("label", ""), values.get("field", "")))

    @app.post("/")
    def ask():
        file = flask.request.files.get("image")
        contents = file.read() if file else b""
        return found(contents) if contents else page(422, fault="Choose an image first.")

    @app.get("/image/<int:row>")
    def neighbors_of(row):
        try:
            return found(lookup.contents(checked(row)), row)
        except OSError as error:
            return page(422, row=row, fault=f"{lookup.items[row].id}: {error.strerror}.")

    @app.get("/picture/<int:row>")
    def picture(row):
        try:
            return pictures(checked(row)), {"Content-Type": "image/jpeg"}
        except (OSError, ValueError) as error:
            return f"{error}\n", 422, {"Content-Type": "text/plain"}

    @app.errorhandler(HTTPException)
    def refused(error):
        if error.code == 413:
            return page(413, fault=f"An image must have at most {MAX_BYTES // 2**20} MB.")
        return page(error.code, fault=f"{error.code}: {error.name}.")

    return app
