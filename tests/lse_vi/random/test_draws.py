"""Draws from generators of one's own: as torch's, and nothing in the library draws elsewhere."""

import ast
from pathlib import Path

import pytest
import torch

import lse_vi
from lse_vi.fitting.random_state import seeded
from lse_vi.random import draws

LOGITS = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]])
X = torch.zeros(3, 2)
PAIRS = {
    "rand": (lambda: draws.rand(2, 3), lambda: torch.rand(2, 3)),
    "randn": (lambda: draws.randn(2, 3), lambda: torch.randn(2, 3)),
    "one": (draws.rand, lambda: torch.rand(())),
    "randint": (lambda: draws.randint(9, 5), lambda: torch.randint(9, (5,))),
    "randperm": (lambda: draws.randperm(9), lambda: torch.randperm(9)),
    "rand_like": (lambda: draws.rand_like(X.mT), lambda: torch.rand_like(X.mT)),
    "randn_like": (lambda: draws.randn_like(X.mT), lambda: torch.randn_like(X.mT)),
    "categorical": (
        lambda: draws.categorical(LOGITS, 7),
        lambda: torch.distributions.Categorical(logits=LOGITS).sample((7,)),
    ),
    "chi2": (
        lambda: draws.chi2(6.0, (7, 1), X),
        lambda: torch.distributions.Chi2(X.new_tensor(6.0)).sample((7, 1)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_numbers_as_by_torch_inside_a_fit_and_outside(name):
    ours, theirs = PAIRS[name]
    torch.manual_seed(5)
    expected = theirs()
    torch.manual_seed(5)
    assert torch.equal(ours(), expected)
    before = torch.get_rng_state()
    with seeded(5):
        assert torch.equal(ours(), expected)
    assert torch.equal(torch.get_rng_state(), before)


RANDOM = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal",
    "multinomial", "bernoulli", "poisson", "binomial", "normal_", "uniform_", "exponential_",
    "cauchy_", "log_normal_", "geometric_", "random_", "bernoulli_", "_standard_gamma",
}  # fmt: skip


def test_every_draw_in_the_library_names_its_generator():
    """A draw from torch's own generator would differ with what other threads draw."""
    found = []
    for path in Path(lse_vi.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = ast.unparse(node.func.value)
                # The last is a generator itself, by scikit-learn's conventions.
                own = of == "np.random" or of.startswith("check_random_state(")
                random = node.func.attr in RANDOM and not own
                named = any(keyword.arg == "generator" for keyword in node.keywords)
                other = ast.unparse(node.func).startswith(("torch.distributions.", "random."))
                if (random and not named) or other:
                    found.append(f"{path.name}:{node.lineno} {ast.unparse(node.func)}")
    assert found == []
