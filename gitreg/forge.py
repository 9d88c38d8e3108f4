"""Where pull requests are made: the address of a new one, or the `gh` command."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from gitreg import printed
from gitreg.errors import Outside

_REMOTE = re.compile(
    r"(?:[a-z+]+://(?:[^@/]+@)?([^/:]+)(?::[0-9]+)?/|(?:[^@/]+@)?([^/:]+):)(.+?)(?:\.git)?/?\Z"
)


def page(url: str) -> str | None:
    """The repository's page, above `/commit/<id>` and `/blob/<id>/<path>`; None where it is not known.

    Args:
        url: of the Git remote.
    """
    found = _REMOTE.match(url)
    if not found:
        return None
    host, path = found[1] or found[2], quote(found[3], safe="/~")
    if "github" in host:
        return f"https://{host}/{path}"
    return f"https://{host}/{path}/-" if "gitlab" in host else None


def new_request(url: str, branch: str, base: str) -> str | None:
    """The page that opens a pull request; None for a server that is not known.

    Args:
        url: of the Git remote.
    """
    found = _REMOTE.match(url)
    if not found:
        return None
    host, path = found[1] or found[2], found[3]
    head, into = quote(branch, safe="/"), quote(base, safe="/")
    if "github" in host:
        return f"https://{host}/{path}/compare/{into}...{head}?expand=1"
    if "gitlab" in host:
        asked = f"merge_request[source_branch]={head}&merge_request[target_branch]={into}"
        return f"https://{host}/{path}/-/merge_requests/new?{asked}"
    if "bitbucket" in host:
        return f"https://{host}/{path}/pull-requests/new?source={head}&dest={into}"
    return None


def open_request(root: Path, url: str, branch: str, base: str, title: str, body: str) -> str | None:
    """Open a pull request with GitHub's own command; its address. None where that cannot be used.

    Raises:
        Outside: `gh` refuses.
    """
    gh = shutil.which("gh")
    if gh is None or "github" not in url:
        return None
    command = [gh, "pr", "create", f"--head={branch}", f"--base={base}", f"--title={title}", "--body-file=-"]
    done = subprocess.run(command, cwd=root, input=body, capture_output=True, text=True, timeout=120)
    if done.returncode:
        link = new_request(url, branch, base)
        otherwise = f", or open the pull request at {link}" if link else ""
        hint = f"the branch {branch} is pushed: gh auth status, and run this again{otherwise}"
        raise Outside(f"gh pr create: {printed.said(done.stderr)}", hint)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else None
