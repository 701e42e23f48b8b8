"""`python -m keras_epos` is the command line."""

from keras_epos.cli import main

main()
