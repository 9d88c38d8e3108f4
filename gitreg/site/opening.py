"""Where a reference's page is, and a browser that shows it."""

from __future__ import annotations

import atexit
import html
import os
import tempfile
import threading
import webbrowser
from pathlib import Path

from gitreg.catalog import Catalog
from gitreg.errors import Refused
from gitreg.names import parse_reference

_KEPT = 20.0  # seconds that a slow browser has


def page_of(catalog: Catalog, reference: str) -> str:
    """The page of a model or a version, relative to the site.

    Raises:
        Usage: it is no reference.
        Refused: there is no such model or version.
    """
    if not reference:
        return "index.html"
    wanted = parse_reference(reference)
    of_version = wanted.id.startswith("v_") if wanted.id else reference != wanted.model
    if of_version:
        return f"version.html#{catalog.version(reference)}"
    return f"models/{catalog.model(reference).name}/index.html"


def address(site: str, page: str) -> str:
    """A page of a site that was built: of a folder, or where it is published.

    Raises:
        Refused: there is no site.
    """
    if site.startswith(("http://", "https://")):
        return f"{site.rstrip('/')}/{page}"
    folder = Path(site).absolute()
    path, sign, fragment = page.partition("#")
    if not (folder / path).is_file():
        raise Refused(f"{folder} has no {path}", f"gitreg site build -o {site}")
    return f"{(folder / path).as_uri()}{sign}{fragment}"


def browse(address: str) -> bool:
    """Open an address in the user's browser.

    Others see the arguments of a process, and the address may hold a token: the browser is given a file of
    ours, which leads there.
    """
    if "token=" not in address:
        return webbrowser.open(address)
    descriptor, name = tempfile.mkstemp(prefix="gitreg-", suffix=".html")  # ours alone, by its mode
    with open(descriptor, "w", encoding="utf-8") as stream:
        to = html.escape(address, quote=True)
        stream.write('<!doctype html><meta charset="utf-8"><title>gitreg</title>')
        stream.write(f'<meta http-equiv="refresh" content="0;url={to}"><a href="{to}">gitreg</a>')
    atexit.register(Path(name).unlink, missing_ok=True)
    timer = threading.Timer(_KEPT, lambda: Path(name).unlink(missing_ok=True))
    timer.daemon = True
    timer.start()
    if webbrowser.open(Path(name).as_uri()):
        return True
    os.unlink(name)
    return False
