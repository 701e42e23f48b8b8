"""Arguments are what they must be, and messages say what was expected and what came."""

import re

import numpy as np
import pytest

from keras_epos._checks import integer, number, one_of


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: integer("k", 1.0, 1), "`k` must be an integer of at least 1. Received: k=1.0."),
        (lambda: integer("k", True), "`k` must be an integer. Received: k=True."),
        (lambda: integer("k", np.bool_(True)), "`k` must be an integer. Received"),
        (lambda: integer("k", "1", 1), "`k` must be an integer of at least 1. Received: k='1'."),
        (lambda: integer("k", 0, 1), "Received: k=0."),
        (lambda: integer("k", 5, 1, 4, "Pass less."), "`k` must be an integer from 1 to 4. Received: k=5. Pass less."),
        (lambda: number("t", 0, "(0, inf)"), "`t` must be positive. Received: t=0."),
        (lambda: number("t", float("inf"), "(0, inf)"), "`t` must be positive. Received: t=inf."),
        (lambda: number("t", float("nan"), "[0, inf)"), "`t` must be at least 0. Received: t=nan."),
        (lambda: number("t", "0.5", "[0, 1)"), "`t` must be in [0, 1). Received: t='0.5'."),
        (lambda: number("t", True, "[0, 1]"), "`t` must be in [0, 1]. Received: t=True."),
        (lambda: number("t", None, "[0, 1]"), "`t` must be in [0, 1]. Received: t=None."),
        (lambda: number("t", 1, "[0, 1)", "a share"), "`t` must be a share in [0, 1). Received: t=1."),
        (lambda: number("t", 0, "(0, inf)", "a positive distance"), "`t` must be a positive distance. Received: t=0."),
        (lambda: one_of("rule", "nerest", ("nearest", "all")), "Received: rule='nerest'. Did you mean 'nearest'?"),
        (lambda: one_of("rule", 3, ("nearest", "all")), "`rule` must be one of ['nearest', 'all']. Received: rule=3."),
        (lambda: one_of("rule", np.ones(2), ("nearest",)), "`rule` must be one of ['nearest']. Received"),
    ],
)
def test_what_is_refused(check, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check()


def test_what_is_taken():
    assert type(integer("k", np.int64(3), 1, 3)) is int
    assert integer("k", -3) == -3
    assert number("t", np.float32(0.5), "(0, 1)") == np.float32(0.5)
    assert [number("t", end, "[0, 1]") for end in (0, 1)] == [0, 1]
    assert one_of("rule", "all", {"nearest": 1, "all": 2}) == "all"
