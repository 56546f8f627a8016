"""What a client may read of an error at load: names, never where the server's files lie."""

from __future__ import annotations

import re
from pathlib import Path

from serving.logs.render import printable

# An absolute path: what stands before its last part is cut. A slash inside a word (`image/png`, `1/2`) starts none.
_ABSOLUTE = re.compile(r"(?<![\w/.])/(?:[^/\s:'\"]+/)+")


def public_reason(text: str, *, folder: Path) -> str:
    """``text`` on one line that steers no terminal, without the path of the package ``folder`` or of any other file.

    The package itself is called ``<model>/<version>``, its files and its ``deploy.toml`` by their names.
    """
    text = " ".join(text.split())
    for place in (folder, folder.resolve()):
        text = text.replace(str(place), "/".join(place.parts[-2:]))
        text = text.replace(f"{place.parent}/", f"{place.parent.name}/")
    return printable(_ABSOLUTE.sub("", text))  # the names in a graph are whatever its maker wrote
