"""Keys stand in no record and no copy."""

import pytest

from common.run.keys import is_private, redacted, without_keys

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "WANDB_KEY.txt", "WANDB_KEY.txt~", "id_rsa", "id_ed25519.pub", "server.pem",
        "a/b/private.key", ".netrc", "credentials.json", "aws_credentials", "secrets.yaml", "my-api-key.txt",
        "access_token", "Passwords.txt", "gcp_secret.json~", "auth_tokens.json",
    ],
)  # fmt: skip
def test_files_that_hold_keys_by_their_name(name: str) -> None:
    assert is_private(name)


@pytest.mark.parametrize(
    "name",
    [
        "train.py", "environment.yaml", "tokenizer.json", "special_tokens.json", "secrets.py", "keys.py", "monkey.txt",
        "keyboard.yaml", "data.env.d/x.csv", "passwordless.md", "idea_rsa.txt",
    ],
)  # fmt: skip
def test_files_whose_names_only_sound_so(name: str) -> None:
    assert not is_private(name)


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "API_KEY"])
def test_what_the_environment_holds_as_a_key_is_taken_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KEY)
    assert without_keys(f"a = '{KEY}'\n".encode()) == f"a = '<{name}>'\n".encode()
    assert redacted(f"x {KEY}") == f"x <{name}>"


@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_API_KEY", ""), ("TOKEN", "short"), ("TOKENIZERS_PARALLELISM", "a long value of it")]
)
def test_other_variables_take_nothing_out(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redacted("abc short a long value of it") == "abc short a long value of it"


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "ABCDEFGH23456789",
        "ghp_" + "a1" * 18,
        "hf_" + "Ab" * 17,
        "sk-" + "proj-" + "x9" * 20,
        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA " + "PRIVATE KEY-----",
    ],
)
def test_keys_that_are_known_by_their_form_are_taken_out(key: str) -> None:
    assert without_keys(f"k = '{key}'".encode()) == b"k = '<a key>'"


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    content = bytes(range(256)) * 3 + b"sk-learn sk-short hf_hub AKIA"
    assert without_keys(content) == content
