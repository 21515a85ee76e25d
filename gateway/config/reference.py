"""What each key means, in words for people: descriptions of the schema, and the page docs/site-file.md.

The words stand in `reference.yaml`, by the model's name and the key as it is written.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.source import read

_FILE = Path(__file__).with_name("reference.yaml")
_SITE = "SiteFile"


class KeyReference(NamedTuple):
    """One key: what it means in English and Chinese, and how it is written."""

    en: str
    zh: str
    example: str


@cache
def entries() -> Mapping[str, Mapping[str, KeyReference]]:
    """Every key that is described, by model and name."""
    tree = read(_FILE.read_bytes(), _FILE.name).tree
    return {model: {key: KeyReference(**words) for key, words in keys.items()} for model, keys in tree.items()}


def describe(schema: dict[str, Any]) -> None:
    """Put descriptions and examples into a JSON Schema of models."""
    for model, node in _models(schema):
        for key, value in node.get("properties", {}).items():
            entry = entry_of(model, key)
            if entry is not None:
                value["description"] = entry.en
                value["examples"] = [entry.example]


def entry_of(model: str, key: str) -> KeyReference | None:
    """What is said of a key: of its own model, else of a device's, whose keys profiles have too."""
    known = entries()
    return known.get(model, {}).get(key) or (
        known["Device"].get(key) if model in ("Profile", "ProfileOverride") else None
    )


def _models(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield (
        str(schema["title"]).replace("site-gateway site", _SITE).replace("site-gateway profile", "Profile"),
        dict(schema),
    )
    yield from schema["$defs"].items()


def keys(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(model, key, its schema) of every key that may be written."""
    for model, node in _models(schema):
        for key, value in node.get("properties", {}).items():
            yield model, key, value


# ---- the page -------------------------------------------------------------------------------------

_HEAD = """\
# The site file, key by key · 站点文件逐项说明

<!-- Made from gateway/config/reference.yaml and the models: python -m tests.contract.regenerate -->

Every key that a site file or a device profile may have. `check` names each mistake with its line; `schema` prints the
same as JSON Schema, for editors that help while writing. A key in **bold** is required. Durations are written with
their unit (`250ms`, `2s`, `5m`, `12h`, `7d`), sizes too (`512KiB`, `64MiB`). Secrets are never written in the file.

站点文件和设备型号文件中的全部键。粗体为必填。时间和大小必须带单位（如 `250ms`、`5m`、`64MiB`）。密码不得直接写入文件，
写 `{file: 路径}`、`{credential: 名称}` 或 `{env: 变量}`。标点一律用英文半角，缩进用空格。
改完先运行 `site-gateway check`。
"""


def page(site: Mapping[str, Any], profile: Mapping[str, Any]) -> str:
    """The text of docs/site-file.md, from the two schemas."""
    defined = {model: node for schema in (profile, site) for model, node in _models(schema)}
    order = [model for model in entries() if model in defined]
    titles = {_SITE: "The top of the file · 文件顶层", "Profile": "A profile · 型号文件"}
    used = _uses(defined)
    parts = [_HEAD]
    for model in order:
        title = titles.get(model) or " · ".join(f"`{place}`" for place in sorted(used.get(model, ())))
        parts += [f"\n## {title or model}\n", *_section(model, defined[model])]
    return "\n".join(parts) + "\n"


def _section(model: str, node: Mapping[str, Any]) -> Iterator[str]:
    """The lines below a title: what the model is, and a row for each key."""
    yield from _said(node)
    yield "| key | 含义 | meaning | allowed | example |"
    yield "|---|---|---|---|---|"
    required = set(node.get("required", ()))
    for key, value in node.get("properties", {}).items():
        entry = entry_of(model, key)
        if entry is not None:
            name = f"**`{key}`**" if key in required else f"`{key}`"
            cells = (name, _cell(entry.zh), _cell(entry.en), _allowed(value), f"`{_cell(entry.example)}`")
            yield f"| {' | '.join(cells)} |"


def _said(node: Mapping[str, Any]) -> list[str]:
    text = str(node.get("description", "")).partition("\n\n")[0].replace("\n", " ")
    return [text, ""] if text else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _uses(defined: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Under which keys a model stands, as they are written from the top: `devices.NAME.points.NAME`."""
    used: dict[str, set[str]] = {}
    waiting = [(_SITE, "")]
    while waiting:
        model, place = waiting.pop()
        for key, value in defined[model].get("properties", {}).items():
            for inner, below in _references(value, f"{place}.{key}".lstrip(".")):
                if inner in defined and below not in used.setdefault(inner, set()) and len(used[inner]) < 2:
                    used[inner].add(below)
                    waiting.append((inner, below))
    return used


def _references(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner, place)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2], place
        for key, inner in node.items():
            deeper = {"additionalProperties": f"{place}.NAME", "items": f"{place}[]"}.get(key, place)
            if key not in ("properties", "discriminator"):
                yield from _references(inner, deeper)


def _allowed(value: Mapping[str, Any]) -> str:
    """What may stand there, in few words."""
    branches = value.get("anyOf") or value.get("oneOf")
    if branches:
        return " or ".join(dict.fromkeys(_allowed(branch) for branch in branches))
    if "const" in value or "enum" in value:
        return " ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None:
        return f"{low:g}–{high:g}"
    pattern = str(value.get("pattern"))
    for form, word in (("(ms|s|m|h|d)", "duration"), ("(KiB|MiB|GiB)", "size")):
        if form in pattern:
            return word
    kind = "object" if "$ref" in value else str(value.get("type"))
    words = {"boolean": "`true` `false`", "string": "text", "array": "list", "object": "mapping"}
    return words.get(kind, kind if kind in ("integer", "number") else "value")
