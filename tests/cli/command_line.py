"""The command line in this process."""

from click.testing import CliRunner

from keras_epos.cli._main import commands

# Side of the images that the model of the tests takes.
SIZE = 16


def run(*arguments, code=0):
    done = CliRunner().invoke(commands, [str(part) for part in arguments])
    assert done.exit_code == code, done.output
    assert code == 0 or "Traceback" not in done.output
    return done
