"""Secrets that a test sets, without files."""

from gateway.errors import ConfigError


class SecretText:
    """A password or a token; None: it cannot be read."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read(self) -> str:
        """As it is now."""
        if self.text is None:
            raise ConfigError("the secret cannot be read")
        return self.text
