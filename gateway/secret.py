"""The place of a secret. It is read each time it is needed and never stored."""

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigError

_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """A file, a credential of systemd (systemd.exec(5), `LoadCredential=`) or a variable; exactly one is set."""

    file: Path | None = None
    credential: str | None = None
    env: str | None = None

    def read(self) -> str:
        """The secret itself, without a line end. Raises ConfigError."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(f"the environment has no {self.env}")
            return value
        path = self.path()
        if path is None:
            raise ConfigError(f"no credential {self.credential}: systemd passed none (CREDENTIALS_DIRECTORY)")
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
            text = data.decode().rstrip("\r\n")
        except OSError as error:
            raise ConfigError(f"the secret {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"the secret {path} is no UTF-8 text") from error
        if len(data) > _MAX_BYTES or not text:
            raise ConfigError(f"the secret {path} is empty or too long")
        return text

    def path(self) -> Path | None:
        """The file to read; None if systemd passed no credentials."""
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        return Path(folder, self.credential) if folder and self.credential else None
