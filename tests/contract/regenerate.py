"""Writes what is made from the contract and the site file's models: `python -m tests.contract.regenerate`."""

import json
from pathlib import Path
from typing import Any

import yaml

from gateway import __version__
from gateway.config.load import schema
from gateway.config.reference import page
from gateway.contract.asyncapi import document
from gateway.contract.commands import claims
from gateway.contract.events import schemas

DOCS = Path(__file__).parents[2] / "docs"
_HEAD = "# Made from gateway/contract; change it there, then: python -m tests.contract.regenerate\n"


class _Plain(yaml.SafeDumper):
    """Every value where it belongs, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def files() -> dict[str, str]:
    """Every file that is made, by its path below `docs/`."""
    text = yaml.dump(document(__version__), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    made = {f"schemas/{name}.json": _json(schema) for name, schema in schemas().items()}
    reference = {"site-file.md": page(schema("site"), schema("profile"))}
    return {"asyncapi.yaml": _HEAD + text, **made, "schemas/command.json": _json(claims()), **reference}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write what is new, take away what is no longer made."""
    made = files()
    for name, text in made.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (DOCS / "schemas").iterdir():
        if f"schemas/{path.name}" not in made:
            path.unlink()


if __name__ == "__main__":
    main()
