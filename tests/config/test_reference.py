"""Every key is described in both languages, with an example that may be written; the page is made from that."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from gateway.config.load import schema
from gateway.config.reference import KeyReference, entries, entry_of, keys
from gateway.config.source import read

SCHEMAS = {kind: schema(kind) for kind in ("site", "profile")}
KEYS = sorted({(model, key) for one in SCHEMAS.values() for model, key, _ in keys(one)})


@pytest.mark.parametrize(("model", "key"), KEYS, ids=lambda word: word)
def test_every_key_is_described(model: str, key: str) -> None:
    """A new key gets its line in gateway/config/reference.yaml."""
    entry = entry_of(model, key)
    assert entry is not None
    assert all(entry)
    assert entry.en.isascii() or "…" in entry.en or "°" in entry.en
    assert any("一" <= char <= "鿿" for char in entry.zh)


def test_nothing_is_described_that_may_not_be_written() -> None:
    described = {(model, key) for model, words in entries().items() for key in words}
    assert described <= set(KEYS)


def test_every_example_may_be_written() -> None:
    wrong = []
    for root in SCHEMAS.values():
        for model, key, node in keys(root):
            entry: KeyReference | None = entry_of(model, key)
            assert entry is not None
            value: Any = read(f"key: {entry.example}\n".encode(), "example").tree["key"]
            judge = jsonschema.Draft202012Validator({**node, "$defs": root["$defs"]})
            wrong += [f"{model}.{key}: {error.message}" for error in judge.iter_errors(value)]
    assert wrong == []
