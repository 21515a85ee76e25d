"""Writes what is made from the contract and the site file's models: `python -m tests.contract.regenerate`."""

import json
from pathlib import Path
from typing import Any

import yaml

from gateway import __version__
from gateway.commands import FROM_AFAR
from gateway.config.load import schema
from gateway.config.reference import page
from gateway.contract.asyncapi import document
from gateway.contract.commands import ARGS, RESULTS, claims
from gateway.contract.events import schemas
from gateway.model import HOUR_S

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
    return {
        "asyncapi.yaml": _HEAD + text,
        "mqtt.md": _with_tables((DOCS / "mqtt.md").read_text(encoding="utf-8")),
        **made,
        "schemas/command.json": _json(claims()),
        **reference,
    }


def _with_tables(page: str) -> str:
    """The page with its tables of commands made anew."""
    answers = ["| command | without `allow` | `exp` - `iat` at most | result |", "| --- | --- | --- | --- |"]
    arguments = ["| command | arguments | effect |", "| --- | --- | --- |"]
    for name, command in FROM_AFAR.items():
        life = f"{command.life_s:.0f} s" if command.life_s < HOUR_S else f"{command.life_s / HOUR_S:.0f} h"
        allowed = "yes" if command.by_default else "no"
        answers.append(f"| `{name}` | {allowed} | {life} | {_names(RESULTS[name])}{command.result_notes} |")
        effect = f"{command.does}; {command.notes}" if command.notes else command.does
        arguments.append(f"| `{name}` | {_names(ARGS[name])} | {effect} |")
    return _put(_put(page, "answers", answers), "arguments", arguments)


def _put(page: str, name: str, rows: list[str]) -> str:
    before, mark, rest = page.partition(f"<!-- {name}: made from gateway/commands.py -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return "".join((before, mark, *(f"{row}\n" for row in rows), end, after))


def _names(schema: dict[str, Any]) -> str:
    needed = schema.get("required", ())
    return ", ".join(f"`{name}`{'' if name in needed else '?'}" for name in schema["properties"]) or "–"


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
