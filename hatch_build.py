"""The README as a package index shows it: its links lead somewhere from there, too.

GitHub's workflows say where the repository is; built elsewhere the links become plain words, since
a link that leads nowhere is worse than none.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)]+)\)")


def repository(environ):
    """Address of the repository that a GitHub workflow builds, None elsewhere."""
    server, name = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY")
    return f"{server}/{name}" if server and name else None


def absolute(text, base, commit):
    """Markdown whose relative links lead into ``base``; plain words where that is None."""

    def lead(match):
        picture, words, target = match.groups()
        if base is None:
            return "" if picture else words
        kind = "raw" if picture else "blob"
        return f"{picture}[{words}]({base}/{kind}/{commit}/{target})"

    return RELATIVE.sub(lead, text)


class Metadata(MetadataHookInterface):
    """Sets the long description, and the addresses where they are known."""

    def update(self, metadata):
        """Called by hatchling."""
        base, commit = repository(os.environ), os.environ.get("GITHUB_SHA", "HEAD")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, base, commit),
        }
        if base is not None:
            metadata["urls"] = {
                "Source": base,
                "Issues": f"{base}/issues",
                "Changelog": f"{base}/blob/{commit}/CHANGELOG.md",
            }
