"""The documentation holds every public name and every equation of the paper, and no stale name."""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import data_gen
import lse_vi
from lse_vi import plots

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def defined_in(module: Any) -> set[str]:
    """The public functions and classes that a module defines."""
    return {
        f"{module.__name__}.{name}"
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        if inspect.isclass(value) or inspect.isfunction(value)
    }


def public_names() -> set[str]:
    names = {f"lse_vi.{name}" for name in lse_vi.__all__}
    names |= {f"lse_vi.plots.{name}" for name in plots.__all__ if name.startswith("plot")}
    for name in data_gen.__all__:
        names |= defined_in(importlib.import_module(f"data_gen.{name}"))
    return names


def entries() -> set[str]:
    """What the API pages describe, by full name."""
    found = set()
    for page in DOCS.glob("api/*.rst"):
        prefix = ""
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                prefix = match[1] + "."
            if match := re.match(r"\.\. auto(?:class|function):: (\S+)", line):
                found.add(match[1] if "." in match[1] else prefix + match[1])
    return found


def locate(path: str) -> Any:
    """The object of a dotted name; ModuleNotFoundError if there is none."""
    first, *rest = path.split(".")
    value = importlib.import_module(first)
    for part in rest:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


def test_every_public_name_has_an_entry():
    assert public_names() - entries() == set()


@pytest.mark.parametrize("name", sorted(public_names()))
def test_every_public_name_has_a_docstring_with_an_example(name):
    assert ">>>" in (inspect.getdoc(locate(name)) or "")


def test_the_pages_name_nothing_that_does_not_exist():
    pattern = re.compile(r"`~?((?:lse_vi|data_gen|models)\.[\w.]+)`")
    for page in PAGES:
        for name in pattern.findall(page.read_text()):
            assert locate(name) is not None, (page.name, name)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_are_executed_small_and_end_with_what_can_go_wrong(notebook):
    assert notebook.stat().st_size < 1e6
    cells = json.loads(notebook.read_text())["cells"]
    assert "What can go wrong, and how you would notice" in "".join(cells[-1]["source"])
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for cell in code:  # what is seen is said, for those who do not see it
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 30


@pytest.mark.parametrize("name", [name for name in plots.__all__ if name.startswith("plot")])
def test_every_plot_has_a_picture_with_its_code(name):
    """In the gallery and in the API; docs/gallery/draw.py draws it."""
    code = (DOCS / "gallery" / f"{name}.py").read_text()
    assert f"{name}(" in code
    assert len(code.splitlines()) <= 25
    assert (DOCS / "gallery" / f"{name}.png").read_bytes()[1:4] == b"PNG"
    for page in ("gallery.md", "api/plots.rst"):
        assert f"gallery/{name}.png" in (DOCS / page).read_text()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_pictures_say_what_is_seen(page):
    for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text()):
        assert len(text) > 30, target


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(DOCS.glob("howto/*.md")), ids=lambda page: page.name)
def test_the_code_of_a_how_to_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(code, page.name, "exec"), {"__name__": "__main__"})


def test_every_equation_figure_and_table_of_the_paper_has_one_row():
    rows = re.findall(
        r"^\| ((?:Eq\.|Fig\.|Table) [\w-]+) \|", (DOCS / "paper.md").read_text(), re.M
    )
    expected = [f"Eq. {i}" for i in range(1, 33)] + [f"Eq. A-{i}" for i in range(1, 13)]
    expected += [f"Fig. {i}" for i in range(1, 14)] + ["Table 1"]
    assert sorted(rows) == sorted(expected)
