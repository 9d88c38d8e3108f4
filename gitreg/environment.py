"""The environment variables that the process of a model gets: an allow-list, and what is passed by name.

No value is looked at but that of a proxy's address, of which the user and password are cut away. A name is on
the list for one of these reasons:

    find       programs and libraries: PATH, LD_LIBRARY_PATH, JAVA_HOME, CUDA_*, ...
    show       texts and times as the user has them: LANG, LC_*, TZ
    compute    which devices, how many threads, how exact: NVIDIA_*, OMP_*, TF_*, XLA_*, ...
    reach      the network, where the machine has one: proxies, certificates
    refrain    what the user does not want to happen: HF_HUB_OFFLINE, DO_NOT_TRACK, ...

What gives a model files or accounts of the user's is not on it: HF_HOME and XDG_CACHE_HOME hold tokens too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gitreg.errors import Usage

# By their whole names: ssh takes any LC_*, so people send other things in them; TF_VAR_* and TF_TOKEN_* are
# Terraform's, and hold secrets.
_LISTED = """
    PATH LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH JAVA_HOME USER LOGNAME
    LANG LANGUAGE TZ TZDIR LC_ALL LC_COLLATE LC_CTYPE LC_MESSAGES LC_MONETARY LC_NUMERIC LC_TIME
    LC_ADDRESS LC_IDENTIFICATION LC_MEASUREMENT LC_NAME LC_PAPER LC_TELEPHONE
    NO_PROXY no_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    HF_HUB_OFFLINE HF_DATASETS_OFFLINE TRANSFORMERS_OFFLINE HF_HUB_DISABLE_TELEMETRY
    DO_NOT_TRACK DISABLE_TELEMETRY MLFLOW_DISABLE_TELEMETRY
    GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK ONEAPI_DEVICE_SELECTOR CUBLAS_WORKSPACE_CONFIG
    PYTORCH_ALLOC_CONF PYTORCH_CUDA_ALLOC_CONF PYTORCH_HIP_ALLOC_CONF KERAS_BACKEND
    GOTO_NUM_THREADS VECLIB_MAXIMUM_THREADS RAYON_NUM_THREADS POLARS_MAX_THREADS
    LOKY_MAX_CPU_COUNT TOKENIZERS_PARALLELISM MALLOC_ARENA_MAX
    TF_CPP_MIN_LOG_LEVEL TF_CPP_MAX_VLOG_LEVEL TF_ENABLE_ONEDNN_OPTS TF_USE_LEGACY_KERAS
    TF_DETERMINISTIC_OPS TF_CUDNN_DETERMINISTIC TF_CUDNN_USE_AUTOTUNE TF_XLA_FLAGS
    TF_NUM_INTEROP_THREADS TF_NUM_INTRAOP_THREADS TF_FORCE_GPU_ALLOW_GROWTH TF_FORCE_UNIFIED_MEMORY
    TF_GPU_ALLOCATOR TF_GPU_THREAD_MODE TF_GPU_THREAD_COUNT
"""
_NAMES = frozenset(_LISTED.split())
_FAMILIES = (
    *("CUDA_", "NVIDIA_", "ROCM_", "ROCR_", "HIP_", "HSA_", "XLA_", "JAX_"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "NUMEXPR_", "NUMBA_"),
)
# What a family may not bring along: NVIDIA_API_KEY is an account at NVIDIA's.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|ACCOUNT|LICENSE|URL|URI|DSN")
_PROXIES = frozenset(f"{kind}_proxy" for kind in ("http", "https", "ftp", "all"))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?(.*)\Z", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What a process of a model has of its own; see schemas/registry.schema.json, too.
OWN = ("HOME", "TMPDIR", "GITREG_CHILD")


def allowed(environment: Mapping[str, str], passed: Iterable[str] = ()) -> dict[str, str]:
    """The variables that a model's process gets of those that are set here.

    Args:
        passed: names of others that it gets too, where they are set; a proxy that is named is passed whole.
    """
    found = {name: value for name, value in environment.items() if _listed(name)}
    for name, value in environment.items():
        if name.lower() in _PROXIES and (address := _without_user(value)):
            found[name] = address
    return found | {name: environment[name] for name in passed if name in environment}


def _listed(name: str) -> bool:
    return name in _NAMES or (name.startswith(_FAMILIES) and not _SECRET.search(name.upper()))


def _without_user(proxy: str) -> str:
    """The address of a proxy: scheme, host and port, and nothing else that may stand in it."""
    scheme, rest = _SCHEME.match(proxy).groups()  # type: ignore[union-attr]
    host = re.split(r"[/?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    return f"{scheme or ''}{host}" if host else ""


def mistake(name: str) -> str | None:
    """Why a variable cannot be passed to a model's process, or None. What may be a value is not repeated."""
    if not _NAME.match(name):
        what = f"{name.partition('=')[0]}=..." if "=" in name else repr(name)
        return f"{what} is not the name of a variable; names are passed, with the values that are set here"
    if name in OWN:
        return f"{name} is not passed: the process of a model has one of its own"
    if name.startswith("PYTHON"):
        return f"{name} is not passed: a model sees its package and what is installed, and no other code"
    return None


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """Names of variables to be passed, each once.

    Raises:
        Usage: one is no name, or one that is not passed.
    """
    found = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    if mistakes := [text for name in found if (text := mistake(name))]:
        raise Usage(mistakes, "export NAME=VALUE; gitreg ... --pass-env NAME")
    return found


def digest(environment: Mapping[str, str], passed: Iterable[str]) -> str:
    """A digest of variables that are passed, names and values; it is slow to find a short value by it."""
    import hashlib
    import json

    told = json.dumps([[name, environment.get(name)] for name in sorted(set(passed))])
    return hashlib.pbkdf2_hmac("sha256", told.encode(), b"gitreg environment", 50_000, 16).hex()
