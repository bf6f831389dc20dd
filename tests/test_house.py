"""The library is laid out as CONTRIBUTING.md says: rooms of few short files, each with tests."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import lse_vi

ROOT = Path(__file__).parents[1]
HOUSE, TESTS = ROOT / "lse_vi", ROOT / "tests"
FILES = sorted(HOUSE.rglob("*.py"))
MODULES = [path for path in FILES if path.name != "__init__.py"]

FILES_IN_A_ROOM = 14
LINES_OF_A_FILE = 350
LINES_OF_A_FUNCTION = 60


def name(path):
    return path.relative_to(ROOT).as_posix()


def rows():
    """Module and files of each row of the table in tests/README.md."""
    for line in (TESTS / "README.md").read_text().splitlines():
        if match := re.match(r"\| `(lse_vi/\S+\.py)` \|(.*)\|", line):
            yield match[1], re.findall(r"`(\S+)`", match[2])


def own_tests(module):
    """Where the tests of a module are, unless tests/README.md says otherwise."""
    return TESTS / module.relative_to(ROOT).with_name(f"test_{module.name}")


def imports(path):
    """The modules from which a file of the library imports, docstrings aside."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def lines_of_functions(path):
    """The lines of the body of every function of a file, from behind its docstring to its end."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                first = min(n.lineno for n in (body[0], *getattr(body[0], "decorator_list", [])))
                yield f"{name(path)}:{node.name}", node.end_lineno - first + 1


# -- tests ----------------------------------------------------------------------------------------


def test_every_module_has_tests_that_can_be_found():
    told = dict(rows())
    missing = [name(m) for m in MODULES if not own_tests(m).exists() and name(m) not in told]
    assert missing == [], (
        "write tests/<the same path>/test_<module>.py, or a row in tests/README.md"
    )


def test_the_readme_of_the_tests_names_nothing_that_is_not_there():
    named = [path for module, files in rows() for path in (module, *files)]
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_readme_of_the_tests_says_nothing_twice_and_no_row_is_empty():
    modules = [module for module, _ in rows()]
    assert len(modules) == len(set(modules))
    assert [module for module, files in rows() if not files] == []
    assert [module for module in modules if own_tests(ROOT / module).exists()] == []


# -- size -----------------------------------------------------------------------------------------


def test_rooms_hold_few_files():
    rooms = {path.parent for path in FILES}
    counts = {name(room): len(list(room.glob("*.py"))) for room in rooms}
    assert {room: n for room, n in counts.items() if n > FILES_IN_A_ROOM} == {}


def test_files_are_short():
    lines = {name(path): len(path.read_text().splitlines()) for path in FILES}
    assert {path: n for path, n in lines.items() if n > LINES_OF_A_FILE} == {}


def test_functions_are_short():
    lines = {function: n for path in FILES for function, n in lines_of_functions(path)}
    assert {function: n for function, n in lines.items() if n > LINES_OF_A_FUNCTION} == {}


# -- imports and faces ----------------------------------------------------------------------------


def test_modules_live_in_rooms():
    assert [path.name for path in sorted(HOUSE.glob("*.py"))] == ["__init__.py", "checks.py"]


def test_modules_import_modules_and_not_the_faces_of_rooms():
    """A face loads its whole room; whoever needs one module of it should load that alone."""
    faces = {"lse_vi"} | {f"lse_vi.{path.parent.name}" for path in HOUSE.glob("*/__init__.py")}
    guests = {
        f"{name(path)}: {module}"
        for path in FILES
        if path != HOUSE / "__init__.py"
        for module in imports(path)
        if module in faces or module.startswith(".")
    }
    assert guests == set()


def test_the_library_shows_its_public_names_and_can_give_each():
    assert dir(lse_vi) == sorted([*lse_vi.__all__, "__version__", "plots"])
    assert [public for public in dir(lse_vi) if not hasattr(lse_vi, public)] == []


def test_the_library_is_imported_without_arviz_and_matplotlib():
    """They take longer to import than all else together, and a fit needs neither."""
    code = "import sys, lse_vi; print(*sorted({'arviz', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_the_version_is_that_of_the_installed_package():
    assert lse_vi.__version__ == importlib.metadata.version("lse-vi")
