"""The README's examples run as they stand and print what it shows, to the digits shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# An example of Python with the output that follows it, text between them or not.
EXAMPLES = re.findall(r"```python\n(.*?)```\n+```\n(.*?)```", README, re.S)
NUMBER = re.compile(r"-?\d+(?:\.(\d+))?(?:e[+-]?\d+)?")


def step(shown):
    """One in the last digit of a number as it is written."""
    mantissa, _, power = shown.partition("e")
    return 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))


def assert_alike(printed, shown):
    """The same words, and numbers that differ by one in the last digit at most."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    both = zip(NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True)
    for ours, theirs in both:
        bound = 1.001 * step(theirs[0])
        assert abs(float(ours[0]) - float(theirs[0])) <= bound, (ours[0], theirs[0])


def test_there_are_three_short_examples_each_with_its_output():
    assert len(EXAMPLES) == README.count("```python") == 3
    assert all(len(code.splitlines()) <= 20 for code, _ in EXAMPLES)


def test_it_fits_on_two_screens():
    assert len(README.splitlines()) <= 150


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


def test_a_number_that_is_off_by_two_in_its_last_digit_is_found():
    assert_alike("a 1.02 b 3e-02", "a 1.01 b 2e-02")
    with pytest.raises(AssertionError):
        assert_alike("a 1.03", "a 1.01")
    with pytest.raises(AssertionError):
        assert_alike("b 1.01", "a 1.01")
