"""The commands, and how their errors are told."""

import logging
import sys
import warnings

import click

import keras_epos
from keras_epos.cli._doctor import doctor
from keras_epos.cli._embed import embed
from keras_epos.cli._evaluate import evaluate
from keras_epos.cli._train import train


class Commands(click.Group):
    """Tells what a user can mend in one sentence, without a stack trace."""

    def invoke(self, context):
        warnings.formatwarning = lambda message, *_: f"note: {message}\n"
        try:
            return super().invoke(context)
        except (OSError, ValueError) as error:
            raise click.ClickException(in_words(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(keras_epos.__version__, prog_name="keras-epos")
def commands():
    """Embeddings of photographs: train them, measure them, make them.

    \b
    keras-epos train photos --output runs/photos        photos/<class>/<image>.jpg
    keras-epos evaluate runs/photos/model.keras more_photos
    keras-epos embed runs/photos/model.keras more_photos --output vectors.npy
    keras-epos doctor                                    what is installed here, and whether it computes right

    A command ends with 0 if all went well, with 1 after an error, with 2 if it was called wrongly.
    """


for command in (train, evaluate, embed, doctor):
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
