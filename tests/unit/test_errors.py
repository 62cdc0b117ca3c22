"""Errors cross process borders whole."""

import pickle

import pytest

import raysys.errors
from raysys.errors import RaysysError


def _all_errors() -> list[type[RaysysError]]:
    found = [RaysysError]
    for error_class in found:
        found.extend(error_class.__subclasses__())
    return found


@pytest.mark.parametrize("error_class", _all_errors(), ids=lambda error: error.__name__)
def test_an_error_survives_pickling_with_its_message(error_class: type[RaysysError]) -> None:
    error = error_class("what was asked, what was found")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert str(copy) == "what was asked, what was found"


@pytest.mark.parametrize("error_class", _all_errors(), ids=lambda error: error.__name__)
def test_every_error_stands_in_the_tree_that_the_module_draws(
    error_class: type[RaysysError],
) -> None:
    assert raysys.errors.__doc__ is not None
    assert error_class.__name__ in raysys.errors.__doc__
    assert error_class.__module__ == "raysys.errors"
