"""Which of DVC's settings a file that Git tracks may make, and with which values.

Any branch can bring such a file. So it says where remotes are and how they are asked, by lists of keys, each
with the form of its values. What names commands, files that name commands (`configpath`), secrets, or folders
outside of the registry that DVC would fill, is for files that Git does not track: the user's own.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gitreg import dvcconfig
from gitreg.errors import Refused
from gitreg.redaction import cleaned

_SWITCH = r"(?i:true|false)"
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_WORD = r"[\w.@:+=/ ,-]{1,256}"
_HOST = r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
# Of a remote of any commit, and why:
# - where it is: without these, honest registries cannot be read;
# - `user` is a name without its password; `profile` names credentials that stay on the reader's machine;
# - how long to wait, for stores that are slow; `version_aware`, how objects are named there;
# - `allow_anonymous_login` asks without credentials.
# Not what names commands (`bearer_token_command`), files that name commands or hold secrets (`configpath`,
# `credentialpath`, `keyfile`), what weakens TLS (`ssl_verify`; `use_ssl`: an endpoint without TLS
# begins with http://), credentials, or how much is done at once (`jobs`).
_LENT = {
    "endpointurl": rf"https?://{_HOST}(?:/[\w./~-]*)?",
    "region": r"[A-Za-z0-9-]{1,64}",
    "port": r"\d{1,5}",
    "account_name": r"[a-z0-9]{3,24}",
    "projectname": r"[\w.:-]{1,128}",
    "oss_endpoint": rf"(?:https?://)?{_HOST}/?",
    "user": r"[\w.@+\\][\w.@+\\-]{0,127}",
    "profile": r"[\w.@+][\w.@+:/=, -]{0,127}",
    **dict.fromkeys(("read_timeout", "connect_timeout"), _NUMBER),
    **dict.fromkeys(("version_aware", "allow_anonymous_login"), _SWITCH),
}
# Of one's own clone: how its store is worked with, as well. Reviews decide on these; they run nothing.
_TUNED = {
    **dict.fromkeys(("jobs", "checksum_jobs", "timeout", "connection_timeout"), _NUMBER),
    **dict.fromkeys(("max_sessions", "replication"), _NUMBER),
    **dict.fromkeys(("verify", "worktree", "no_traverse", "slow_link_warning", "protected"), _SWITCH),
}
_OWN = {
    **_LENT,
    **_TUNED,
    "type": r"(?:reflink|hardlink|symlink|copy)(?:, ?(?:reflink|hardlink|symlink|copy))*",
    "shared": r"(?i:group)",
    "auth": r"(?i:basic|digest|custom)",
    "method": r"(?i:put|post|patch)",
    "ssl_verify": rf"{_SWITCH}|/[^\0]+",  # or what this machine has as certificates
    **dict.fromkeys(("use_ssl", "listobjects", "cache_regions", "ask_password", "ask_passphrase"), _SWITCH),
    **dict.fromkeys(("gss_auth", "allow_agent", "kerberos", "use_https"), _SWITCH),
    **dict.fromkeys(("gdrive_use_service_account", "gdrive_trash_only"), _SWITCH),
    "gdrive_acknowledge_abuse": _SWITCH,
    **{
        f"exclude_{kind}_credential": _SWITCH
        for kind in ("environment", "visual_studio_code", "shared_token_cache", "managed_identity")
    },
    **dict.fromkeys(("sse", "sse_kms_key_id", "sse_customer_algorithm", "acl", "grant_read"), _WORD),
    **dict.fromkeys(("grant_read_acp", "grant_write_acp", "grant_full_control"), _WORD),
    **dict.fromkeys(("tenant_id", "client_id", "kerberos_principal"), _WORD),
    "gdrive_service_account_user_email": _WORD,
}
_CORE = {
    "remote": r"[^\0]+",
    **dict.fromkeys(("analytics", "check_update", "autostage", "hardlink_lock", "no_scm"), _SWITCH),
    **dict.fromkeys(("interactive", "experiments"), _SWITCH),
    "checksum_jobs": _NUMBER,
}
_CACHE = {key: _OWN[key] for key in ("type", "shared", "slow_link_warning", "verify", "protected")}
_PARSING = {"bool": r"(?i:store_true|boolean_optional)", "list": r"(?i:nargs|append)"}
_SECTIONS = {"core": _CORE, "cache": _CACHE, "parsing": _PARSING}
# These sign what they ask, and do not send the key; the endpoint of any other would be sent a token.
_SIGNING = ("s3",)
_NAMED = re.compile(r"\s*remote\s*\"(.*)\"\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Fault:
    """A setting that is not taken from a file that Git tracks.

    Attributes:
        remote: the name of the remote that it is of; None for a section.
        section: as it stands in the file, without brackets.
        why: without its value, which may be a secret.
    """

    remote: str | None
    section: str
    key: str
    why: str

    @property
    def hint(self) -> str:
        """The command that makes the setting for this clone alone."""
        if self.remote is None:
            return f"dvc config --local {self.section}.{self.key} VALUE"
        return f"dvc remote modify --local {shlex.quote(self.remote)} {self.key} VALUE"

    @property
    def line(self) -> str:
        """What is wrong."""
        return f"{self.section}: {self.key} {self.why}"


def parse(raw: bytes, name: str, interpolation: bool = False) -> dict[str, Any]:
    """The sections of a configuration.

    Args:
        name: of the file, for the error.
        interpolation: whether `%(key)s` is filled in, as DVC does.

    Raises:
        Refused: it is none. Of its lines no more is told than a number: they may be secrets.
    """
    try:
        return dvcconfig.parsed(raw, interpolation)
    except ValueError as error:
        raise Refused(f"{name}: not a DVC configuration: {error}", "dvc config --list") from None


def lent(values: Mapping[str, str]) -> dict[str, str]:
    """What is taken of a remote of a commit that may be a stranger's, whatever its values are."""
    found = {key: values[key] for key in ("url", *_LENT) if key in values}
    if _scheme(found.get("url", "")) not in _SIGNING:
        found.pop("endpointurl", None)
    return found


def odd(values: Mapping[str, str]) -> str | None:
    """What is wrong with what `lent` gives."""
    if why := _wrong_url(values.get("url")):
        return why
    if _scheme(values["url"]) == "remote":
        return "is an address in another remote, whose credentials it would be asked with"
    for key, value in values.items():
        if key != "url" and not _fits(_LENT[key], value):
            return f"has a {key} that gitreg does not take: {value!r}"
    return None


def sift(said: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """What DVC may see of a configuration that Git tracks, as DVC's reader gives it; and what is not taken.

    What is no section at all is left to DVC, which refuses it. Sections that gitreg makes no use of are left
    out without a word.
    """
    kept: dict[str, Any] = {}
    faults: list[Fault] = []
    for section, values in said.items():
        if not isinstance(values, Mapping):
            kept[section] = values
        elif section == "remote":
            kept[section] = {name: _remote(name, one, faults) for name, one in values.items()}
        elif section in _SECTIONS:
            kept[section] = {key: one for key, one in values.items() if _is_taken(section, key, one, faults)}
    return kept, faults


def named(said: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration as DVC's reader has them: remotes by their names, small letters."""
    found: dict[str, Any] = {"remote": {}}
    for section, values in _lower(said).items():
        match = _NAMED.match(section)
        if match:
            found["remote"][match[1]] = values
        elif section != "remote" or isinstance(values, Mapping):
            found[section] = values
    return found


def stays_inside(folder: str) -> bool:
    """Whether a `cache.dir` of `.dvc/config` lies in `.dvc` itself."""
    path = posixpath.normpath(posixpath.join(".dvc", folder))
    return path.startswith(".dvc/") and not folder.startswith("~") and folder.isprintable()


def is_at(url: str, other: str) -> bool:
    """Whether an address is another one or lies below it, for everybody who may read it.

    Libraries and servers resolve dots, also those that are written `%2e`, and take backslashes for slashes.
    """
    url, other = url.rstrip("/"), other.rstrip("/")
    if not other or not (url == other or url.startswith(f"{other}/")):
        return False
    below = url[len(other) :]
    plain = unquote(below)
    if re.search(r"%(?:2e|2f|5c|25)", below, re.IGNORECASE) or "\\" in below or not plain.isprintable():
        return False
    return not any(part.partition(";")[0].strip() in (".", "..") for part in plain.split("/"))


def _remote(name: str, values: Any, faults: list[Fault]) -> Any:
    if not isinstance(values, Mapping):
        return values
    section, kept = f'remote "{name}"', {}
    url = values.get("url")
    scheme = _scheme(url) if isinstance(url, str) else ""
    for key, value in values.items():
        why = None
        if key == "url":
            wrong = _wrong_url(value)
            why = f"cannot be used: it {wrong}" if wrong else None
        elif key not in _OWN:
            why = "is not taken from a file that Git tracks, which any branch can change"
        elif not isinstance(value, str) or not _fits(_OWN[key], value):
            why = "has a value that is not taken from a file that Git tracks"
        elif key == "endpointurl" and scheme and scheme not in _SIGNING:
            why = "is not taken from a file that Git tracks: your credentials would be sent there"
        elif scheme == "remote" and key not in _TUNED:
            why = "is not taken from a file that Git tracks where the address lies in another remote"
        if why:
            faults.append(Fault(name, section, key, why))
        else:
            kept[key] = value
    return kept


def _is_taken(section: str, key: str, value: Any, faults: list[Fault]) -> bool:
    """Whether a key of another section is taken; else it is added to `faults`."""
    pattern = _SECTIONS[section].get(key)
    why = "is not taken from a file that Git tracks, which any branch can change"
    if section == "cache" and key == "dir" and isinstance(value, str):
        if stays_inside(value):
            return True
        why = "is a folder outside of .dvc, which no branch may have filled: it is not taken from this file"
    elif pattern and not isinstance(value, str):
        return section == "cache" and key == "type"  # a list of types, which DVC judges
    elif pattern and _fits(pattern, value):
        return True
    elif pattern:
        why = "has a value that is not taken from a file that Git tracks"
    faults.append(Fault(None, section, key, why))
    return False


def _wrong_url(url: Any) -> str | None:
    if not isinstance(url, str) or not url:
        return "has no url"
    # DVC's reader of configurations fills in %(name)s from beside it.
    if "%(" in url or not url.isprintable() or '"' in url or url != url.strip():
        return f"has a url that gitreg does not take: {cleaned(url)!r}"
    return None


def _fits(pattern: str, value: str) -> bool:
    return bool(re.fullmatch(pattern, value)) and value.isprintable()


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower() if ":" in url else ""


def _lower(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): _lower(one) if isinstance(one, Mapping) else one for key, one in said.items()}
