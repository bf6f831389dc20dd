"""The errors of fits travel: between processes, and by copies."""

import copy
import pickle

import pytest
import torch

from lse_vi import LSEICNN, NonFiniteLossError


def _pickled(error):
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("travel", [_pickled, copy.deepcopy, copy.copy])
def test_an_error_that_travelled_is_the_same(travel):
    error = NonFiniteLossError(7, LSEICNN(1, 2))
    again = travel(error)
    assert str(again) == str(error)
    assert again.step == 7
    assert torch.equal(again.potential.alpha, error.potential.alpha)
