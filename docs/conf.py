"""The documentation site: `make docs` builds it with warnings as errors."""

import inspect
import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform
from sphinx.util.images import get_image_size
from sphinx.util.nodes import make_refnode

project = "lse_vi"
author = "the lse_vi developers"
project_copyright = f"{author}, Apache-2.0"
release = version = installed("lse-vi")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas without network
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "lse_vi"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}
copybutton_prompt_text = ">>> |\\.\\.\\. "
copybutton_prompt_is_regexp = True

nb_execution_mode = "off"  # they come with their outputs; the tests run them
# Bars of progress, which no page shows: their scripts would come from the network.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # by its name: what it stands for fills lines
default_role = "code"  # of names between single backticks
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]

nitpicky = True  # a name that leads nowhere is an error
nitpick_ignore_regex = [
    # Names of other projects, and types inside the library that no user makes.
    ("py:.*", r"(collections|mpl_toolkits|torch|numpy|pyro|matplotlib|nn|pathlib|numba)\..*"),
    ("py:class", "Tensor|Any|ArrayLike"),
    ("py:obj", r"data_gen\.elasticity\.[A-Z0-9_]+"),  # its constants, told by their values
    ("py:class", r".*\b(ConvexStack|Drives|FloatArray|Kind|LogJoint|Search|Strains|Targets)"),
    ("py:class", r".*\b(Loop|Moved|Prior|Record)"),
]

_SHAPE = re.compile(r"[\w.]*\([^()`]*\*[a-z][^()`]*\)")  # such as (*sample, *batch, dim)

_FITTED = re.compile(r"(?<![\w`.])[a-z]\w{3,}_(?![\w`])")  # such as n_components_, to reST a link

_ENTRY = re.compile(r" +[\w, ]+: ")  # of a list of arguments or attributes

_CONSTANT = re.compile(r"(?<== )[A-Z_]{3,}\b")  # a default that has a name in the code

_as_written: dict[str, list[str]] = {}


def _as_code(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write shapes and moduli in plain text; set the one as code, the other as it is."""
    margin = None  # of a formula that is under way
    for i, line in enumerate(lines):
        if line.strip() == "Example:":
            break
        indent = len(line) - len(line.lstrip())
        if margin is not None and line.strip() and indent <= margin:
            margin = None
        if ".. math::" in line:
            margin = indent
        if margin is None and ":math:" not in line:
            line = _SHAPE.sub(r"``\g<0>``", line)
            entry = _ENTRY.match(line)  # napoleon sets its name itself
            start = entry.end() if entry else 0
            if "``" not in line:
                line = line[:start] + _FITTED.sub(r"``\g<0>``", line[start:])
            lines[i] = line.replace("|", r"\|")
    _as_written[name] = list(lines)


def _without_type(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in an attribute's docstring for its type."""
    if what in ("attribute", "data", "property"):
        lines[:] = _as_written[name]


def _by_value(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str
) -> tuple[str, str] | None:
    """A default that is a constant with a name, as ``STEPS``, is shown as its number."""
    module = inspect.getmodule(obj)
    if signature is None or module is None:
        return None
    return _CONSTANT.sub(lambda m: f"{vars(module).get(m[0], m[0])}", signature), returns


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of a named tuple are told by its docstring; only `print` calls `extra_repr`."""
    if name == "extra_repr":
        return True
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None


class LinkNames(SphinxTransform):
    """Full names in code, such as `lse_vi.LSEICNN`, lead to their entries."""

    default_priority = 5

    def apply(self, **options: Any) -> None:
        """Wrap each such literal in a reference."""
        if self.env.docname == "changelog":  # which names what is gone, too
            return
        for node in list(self.document.findall(nodes.literal)):
            name, parent = node.astext(), node.parent
            taken = isinstance(parent, pending_xref | nodes.reference | nodes.title)
            if not taken and re.fullmatch(r"(lse_vi|data_gen)(\.\w+)+", name):
                link = pending_xref("", node.deepcopy(), reftarget=name, refdoc=self.env.docname,
                                    refdomain="py", reftype="obj")  # fmt: skip
                node.replace_self(link)


class FullSize(SphinxTransform):
    """A picture leads to itself at full size: on a narrow screen its letters are too small."""

    default_priority = 600  # after notebooks have given out their pictures

    def apply(self, **options: Any) -> None:
        """Give each its own width: Sphinx links pictures that have one."""
        for node in self.document.findall(nodes.image):
            size = get_image_size(Path(self.app.srcdir, node["uri"]))
            if size and "width" not in node:
                node["width"] = f"{size[0]}px"


class BreakNames(SphinxTransform):
    """Names in tables may break after a dot, a stroke or an underscore, if they must."""

    default_priority = 900

    def apply(self, **options: Any) -> None:
        """Put a place to break after each, which is not copied with the name."""
        for entry in self.document.findall(nodes.entry):
            for node in list(entry.findall(nodes.literal)):
                parts = re.split(r"(?<=\w[._/])(?=[A-Za-z])", node.astext())
                node.children = []
                for i, part in enumerate(parts):
                    node += [nodes.raw("", "<wbr>", format="html")] * bool(i) + [nodes.Text(part)]


def _short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Docstrings say :func:`fit_density` from any module: found by the end of its full name."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    found = domain.find_obj(env, None, None, node["reftarget"], None, searchmode=1)
    for name, entry in found[:1]:
        at = (node["refdoc"], entry.docname, entry.node_id, contnode, name)
        return make_refnode(app.builder, *at)
    return None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_transform(LinkNames)
    app.add_post_transform(FullSize)
    app.add_post_transform(BreakNames)
    app.connect("autodoc-process-docstring", _as_code, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _without_type, priority=600)
    app.connect("autodoc-process-signature", _by_value)
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _short_name)
