"""One word for one thing: public keywords and their defaults are those in CONTRIBUTING."""

import inspect
import re
from pathlib import Path

import pytest

import lse_vi
from lse_vi import plots

TABLE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| .*\|$", re.M)
# What others call them; `lse_vi.signatures` names ours to who tries theirs.
OTHERS = (
    "n_components", "n_modes", "num_modes", "random_state", "rng", "n_init", "max_iter", "epochs",
    "lr", "sample_weight", "n_draws", "verbose", "support", "domain", "filename", "box",
)  # fmt: skip
RESULTS = ("Result", "Fit", "Draws", "Posterior", "Count", "Error")  # which users do not make


def callables():
    found = {name: getattr(lse_vi, name) for name in lse_vi.__all__}
    found |= {f"plots.{name}": getattr(plots, name) for name in plots.__all__ if name[:4] == "plot"}
    return {name: f for name, f in found.items() if not name.endswith(RESULTS) and callable(f)}


def keywords():
    """(function, keyword, default as it is written, - without one) of all public functions."""
    for name, function in callables().items():
        for word, p in inspect.signature(function).parameters.items():
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                yield name, word, "-" if p.default is p.empty else repr(p.default)


WORDS = {word: re.findall(r"`(.+?)`", defaults) for word, defaults in ROW.findall(TABLE)}


def test_the_table_has_each_word_once():
    assert len(WORDS) == len(ROW.findall(TABLE)) > 20


def test_what_several_functions_name_is_in_the_table():
    users: dict[str, set[str]] = {}
    for name, word, _ in keywords():
        users.setdefault(word, set()).add(name)
    missing = {word: sorted(names) for word, names in users.items() if len(names) > 1}
    assert {word: missing[word] for word in missing.keys() - WORDS.keys()} == {}


def test_defaults_are_those_of_the_table():
    wrong = [
        (name, word, default)
        for name, word, default in keywords()
        if word in WORDS and "any" not in WORDS[word] and default not in WORDS[word]
    ]
    assert wrong == []


def test_every_word_of_the_table_is_one():
    assert WORDS.keys() - {word for _, word, _ in keywords()} == set()


@pytest.mark.parametrize("word", OTHERS)
def test_nobody_has_another_word_for_it(word):
    assert [name for name, own, _ in keywords() if own == word] == []
