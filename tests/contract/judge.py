"""Who says whether something fits: the schemas, ours and the official ones."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from jsonschema import Draft7Validator, FormatChecker  # type: ignore[import-untyped]

from gateway.contract.events import schemas

OFFICIAL = Path(__file__).parent / "official"


def _date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _uri_reference(value: object) -> bool:
    return not isinstance(value, str) or (urlsplit(value) is not None and value.isascii() and " " not in value)


def _uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value


_formats = FormatChecker(())
_formats.checkers = {
    "date-time": (_date_time, ValueError),
    "uri-reference": (_uri_reference, ValueError),
    "uuid": (_uuid, ValueError),
}


def official(name: str) -> Draft7Validator:
    """The validator of an official schema."""
    return Draft7Validator(json.loads((OFFICIAL / name).read_text()), format_checker=_formats)


CLOUD_EVENT = official("cloudevents-1.0.json")
OURS = {name: Draft7Validator(schema, format_checker=_formats) for name, schema in schemas().items()}


def faults(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event, by the official schema of CloudEvents and by its own."""
    validators = [CLOUD_EVENT, OURS[event["type"]]]
    return [
        f"{event['type']} {error.json_path}: {error.message}" for one in validators for error in one.iter_errors(event)
    ]
