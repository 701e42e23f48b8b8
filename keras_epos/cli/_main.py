"""The commands, and how their errors are told."""

import logging
import sys
import warnings

import click

import keras_epos
from keras_epos.cli._browse import browse
from keras_epos.cli._calibrate import calibrate
from keras_epos.cli._doctor import doctor
from keras_epos.cli._embed import embed
from keras_epos.cli._evaluate import evaluate
from keras_epos.cli._export import export
from keras_epos.cli._index import index
from keras_epos.cli._pack import pack
from keras_epos.cli._search import search
from keras_epos.cli._train import train


class Commands(click.Group):
    """Tells what a user can mend in one sentence, without a stack trace."""

    def invoke(self, context):
        warnings.formatwarning = lambda message, *_: f"note: {message}\n"
        try:
            return super().invoke(context)
        except (OSError, ValueError) as error:
            raise click.ClickException(in_words(error)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. What was written before is whole.", err=True)
            context.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(keras_epos.__version__, prog_name="keras-epos")
def commands():
    """From a folder of photographs to answers.

    \b
    keras-epos train photos -o runs/photos            photos/<class>/<image>.jpg
    keras-epos index runs/photos/model.keras things -o things.gallery
    keras-epos calibrate runs/photos/model.keras other --precision 0.9 --gallery things.gallery
    keras-epos search runs/photos/model.keras things.gallery query.jpg

    A command ends with 0 if all went well, with 1 after an error, with 2 if it was called wrongly, with 130 after
    Ctrl-C.
    """


for command in (train, evaluate, calibrate, index, search, browse, embed, export, pack, doctor):
    commands.add_command(command)


def main():
    """Run the command line of this process."""
    # It warns of functions that are traced for another batch size.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.exit(commands(prog_name="keras-epos"))


def in_words(error):
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error)
