"""Addresses of repositories and data, without the secrets that they may carry."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Keys of presigned URLs and tokens: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html,
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas, and what people call theirs.
_SECRET = re.compile(
    r"x-(amz|goog)-|.*(sig|signature|token|secret|passw(or)?d|credential|key|auth)\Z|s[pvert]\Z", re.I
)
_PLAIN = {"versionid", "version", "generation", "rev", "ref"}


def cleaned(address: str) -> str:
    """An address without passwords, tokens and signatures; what is no URL comes back as it is.

    Of `ssh://git@host/...` the user stays: it is no secret, and the address does not work without it.
    """
    if "://" not in address:
        return address
    try:
        parts = urlsplit(address)
        user, at, host = parts.netloc.rpartition("@")
    except ValueError:
        return re.sub(r"//[^/]*@", "//", address)
    keep = user.partition(":")[0] if parts.scheme.endswith("ssh") else ""
    return urlunsplit(
        (parts.scheme, f"{keep}{at if keep else ''}{host}", parts.path, _query(parts.query), parts.fragment)
    )


def holds_secret(address: str) -> bool:
    """Whether an address carries a password, a token or a signature. A bare user name is none over SSH."""
    return cleaned(address) != address


def _query(query: str) -> str:
    """A query as it is; where it signs or authorises something, only what names a version of it."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_SECRET.match(key) for key, _ in pairs):
        return query
    return urlencode([(key, value) for key, value in pairs if key.lower() in _PLAIN])
