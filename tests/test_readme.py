"""The README's examples run as they stand and print what it shows, but for chance."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# An example of Python with the output that follows it, text between them or not.
EXAMPLES = re.findall(r"```python\n(.*?)```\n+```\n(.*?)```", README, re.S)
NUMBER = re.compile(r"-?\d+(?:\.(\d+))?(?:e[+-]?\d+)?")
ERROR = re.compile(r" \+- (\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def step(shown):
    """One in the last digit of a number as it is written."""
    mantissa, _, power = shown.partition("e")
    return 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))


def bound(text, number):
    """By how much a number in ``text`` may differ on another processor: by chance, no more.

    Four times what chance makes of the difference of two, as another processor may draw others:
    4 sqrt(2) of its own errors, if it is printed with one; 0.4 of a k-hat, from a tail of 300
    weights. Half of an error itself; 20 % of a count, else 5 %, and one in the last digit at least.
    """
    value, before = abs(float(number[0])), text[: number.start()]
    if error := ERROR.match(text, number.end()):
        return 4 * math.sqrt(2) * float(error[1])
    if before.endswith("+- "):
        return 0.5 * value + step(number[0])
    if step(number[0]) == 1.0:
        return 0.2 * value
    return max(1.001 * step(number[0]), 0.4 if before.endswith("k-hat ") else 0.05 * value)


def assert_alike(printed, shown):
    """The same words, and numbers that differ no more than :func:`bound` allows."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    both = zip(NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True)
    for ours, theirs in both:
        apart = abs(float(ours[0]) - float(theirs[0]))
        assert apart <= bound(shown, theirs), (ours[0], theirs[0])


def test_there_are_three_short_examples_each_with_its_output():
    assert len(EXAMPLES) == README.count("```python") == 3
    assert all(len(code.splitlines()) <= 20 for code, _ in EXAMPLES)


def test_it_fits_on_two_screens():
    assert len(README.splitlines()) <= 150


@pytest.fixture
def build_hook(monkeypatch):
    """hatch_build.py, without hatchling, which only a build has."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_are_absolute_in_the_package(build_hook, monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "us/lse_vi")
    hook, metadata = build_hook.Metadata(), {}
    hook.root = str(ROOT)
    hook.update(metadata)
    shown = metadata["readme"]["text"]
    links = re.findall(r"\]\(([^)]*)\)", shown)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert len(links) == len(re.findall(r"\]\(([^)]*)\)", README))
    assert "https://example.org/us/lse_vi/raw/" in shown  # pictures as they are, not their pages


def test_where_the_address_is_not_known_there_are_no_links(build_hook, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    hook, metadata = build_hook.Metadata(), {}
    hook.root = str(ROOT)
    hook.update(metadata)
    assert "](" not in metadata["readme"]["text"]
    assert "urls" not in metadata


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_prints_what_is_shown(number, tmp_path):
    code, shown = EXAMPLES[number]
    place = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:lse_vi", "-c", code],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **place}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_alike(done.stdout, shown)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [("a 1.07", "a 1.01"), ("b 1.01", "a 1.01"), ("a -1.12 +- 0.02", "a -1.0 +- 0.02"), ("3", "2")],
)
def test_output_that_differs_by_more_than_chance_is_found(printed, shown):
    assert_alike("a 1.02 b 3e-02 c -1.05 +- 0.02", "a 1.01 b 2e-02 c -1.00 +- 0.02")
    with pytest.raises(AssertionError):
        assert_alike(printed, shown)
