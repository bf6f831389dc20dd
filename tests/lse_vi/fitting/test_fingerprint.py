"""Content is told from other content."""

import numpy as np
import pytest
import torch

from lse_vi.fitting.fingerprint import digest


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_one_bit_of_a_long_array_counts(kind):
    x = np.arange(5000.0)
    y = x.copy()
    y[2500] = np.nextafter(y[2500], 0.0)
    assert digest([kind(x)]) == digest([kind(x.copy())]) != digest([kind(y)])


def test_shape_type_and_order_count():
    x = torch.zeros(6)
    forms = [
        [x], [x.reshape(2, 3)], [x.float()], [x.long()], [x.numpy()], [x, 1], [1, x],
        [x[:3], x[3:]],
    ]  # fmt: skip
    assert len({digest(form) for form in forms}) == len(forms)
    one = torch.ones(()).expand(1)  # of stride 0
    assert digest([one]) == digest([torch.ones(1)])
    assert digest([torch.arange(6.0)[::2]]) == digest([torch.tensor([0.0, 2.0, 4.0])])
    assert len({digest([v]) for v in (1, 1.0, True, "1", b"1", None, torch.tensor(1))}) == 7


@pytest.mark.parametrize(
    "x",
    [object(), np.array([object()]), len, [1.0]],
    ids=["object", "array", "function", "list"],
)
def test_what_has_no_content_to_tell_is_refused(x):
    with pytest.raises(ValueError, match=r"an argument of type .* cannot be told"):
        digest([x])
