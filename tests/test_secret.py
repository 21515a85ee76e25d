"""Secrets are read where they lie, each time."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.secret import SecretPlace


def test_a_file_a_credential_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_PASSWORD", "from the environment")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt").write_text("from systemd\n")
    assert SecretPlace(env="BOX_PASSWORD").read() == "from the environment"
    assert SecretPlace(credential="mqtt").read() == "from systemd"
    assert SecretPlace(file=tmp_path / "mqtt").read() == "from systemd"
    (tmp_path / "mqtt").write_text("renewed\r\n")
    assert SecretPlace(file=tmp_path / "mqtt").read() == "renewed"


@pytest.mark.parametrize(
    "place", [SecretPlace(env="NOT_SET_AT_ALL"), SecretPlace(credential="mqtt"), SecretPlace(file=Path("/none"))]
)
def test_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch, place: SecretPlace) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError):
        place.read()


@pytest.mark.parametrize("data", [b"\n", b"\xff\xfe", b"x" * (65 << 10)])
def test_one_that_cannot_be_used(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "secret").write_bytes(data)
    with pytest.raises(ConfigError):
        SecretPlace(file=tmp_path / "secret").read()
