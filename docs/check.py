"""Check the built site, `docs/_build/html`: `python docs/check.py` after `make docs`.

Raw TeX and marks, links and pictures that lead nowhere, pictures without a text, what a page loads
from the network, and lines of diagrams too long for a narrow screen.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WIDEST = 50  # characters of a line of a diagram: more is cut off at 500 pixels
# A command of a formula, or a mark of reST or Markdown, outside code and formulas.
MARK = re.compile(
    r"\\(frac|sum|log|rho|mathrm|nabla|tfrac|Big|quad|text)\b|\$[^$ ][^$]*\$|:math:`|``"
)
CODE = {"code", "pre", "script", "style"}


class Page(HTMLParser):
    """Text, ids, links and pictures of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids, self.links, self.pictures, self.raw = {""}, [], [], []
        self.loaded: list[str] = []  # what the page needs to be seen, unlike what it links to
        self.open: list[
            tuple[str, bool]
        ] = []  # of each tag: its name, whether its text is no prose
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Note what the tag names, and whether what is in it is prose."""
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(given[key])
        if tag in ("script", "img") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") == "stylesheet":
            self.loaded.append(given.get("href") or "")
        if tag == "img":
            self.pictures.append((given.get("src", ""), given.get("alt") or ""))
        if tag not in ("img", "meta", "link", "br", "hr", "input", "path", "source", "wbr", "col"):
            formula = "math" in (given.get("class") or "").split()
            self.open.append((tag, tag in CODE or formula))

    def handle_endtag(self, tag):
        """Close the tag and what was left open in it."""
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        """Note raw marks."""
        if not any(hidden for _, hidden in self.open):
            self.raw += [match[0] for match in MARK.finditer(data)]


def faults(site: Path):
    """What is wrong with each page, one line each."""
    paths = [
        p for p in sorted(site.rglob("*.html")) if not {"_modules", "py-modindex.html"} & {*p.parts}
    ]
    pages = {path: Page(path) for path in paths}
    for path, page in pages.items():
        name = path.relative_to(site)
        for raw in page.raw:
            yield f"{name}: a mark that was not read, {raw!r}"
        for source, text in page.pictures:
            if len(text) < 12 or text.endswith(".png"):
                yield f"{name}: a picture without a text that says what is seen: {source}"
        for source in page.loaded:
            if urlsplit(source).netloc:
                yield f"{name}: loaded from the network, {source}"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{name}: a link that leads nowhere, {link}"
            elif target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{name}: no such place, {link}"


def wide_diagrams(docs: Path):
    """Lines of diagrams in the sources that a narrow screen would cut."""
    for path in sorted(docs.rglob("*.md")):
        for block in re.findall(r"```text\n(.*?)```", path.read_text(), re.S):
            for line in block.splitlines():
                if ("-->" in line or "+--" in line) and len(line) > WIDEST:
                    yield f"{path.name}: a line of {len(line)} characters in a diagram: {line[:40]}"


if __name__ == "__main__":
    docs = Path(__file__).parent
    found = [*faults(docs / "_build" / "html"), *wide_diagrams(docs)]
    print(*found, sep="\n")
    print(len(found), "faults")
    sys.exit(bool(found))
