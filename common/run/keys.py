"""Keys, tokens and passwords: which files hold them, and a text or a file without them."""

import os
import re
from pathlib import Path

PRIVATE = re.compile(
    r"\.env(\..*)?|.*\.env|\.netrc|\.npmrc|\.pypirc|\.git-credentials|.*wandb_key.*|id_(rsa|dsa|ecdsa|ed25519).*"
    r"|.*\.(pem|key|p12|pfx|kdbx|keystore|jks|gpg)"
    r"|(.*[._-])?(credential|secret|password|passwd|passphrase|(api|access|private)[_-]?key|(api|access|auth)[_-]?token)s?"
    r"(\.(json|ya?ml|toml|cfg|ini|txt|sh))?~?",
    re.IGNORECASE,
)
"""Names of files that hold keys: they are in no record and no copy, be they tracked or not."""

_VARIABLE = re.compile(r"(.*_)?(KEY|API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE)")
SHORTEST_KEY = 12
"""In characters: a shorter value of such a variable is a word that may stand anywhere."""

_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    rb"|\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
    rb"|sk-(?:[a-z]+-)*[A-Za-z0-9_]{32,}|xox[abprs]-[A-Za-z0-9-]{20,}|AIza[\w-]{35})\b",
    re.DOTALL,
)
"""Keys that are known by their form."""


def is_private(name: str) -> bool:
    """Returns whether a file holds keys by its name."""
    return PRIVATE.fullmatch(Path(name).name) is not None


def without_keys(content: bytes) -> bytes:
    """Returns what a file holds without keys: those in this process's environment, and those known by their form."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST_KEY and _VARIABLE.fullmatch(name):
            content = content.replace(os.fsencode(value), f"<{name}>".encode())
    return _KEY.sub(b"<a key>", content)


def redacted(text: str) -> str:
    """Returns a text without keys; see `without_keys`."""
    return without_keys(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
