"""Which keys the models allow at a place: asked only when a file has a key that they do not know."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag

from gateway.config.problems import Key


def names_at(kind: Any, loc: Sequence[Key]) -> list[str]:
    """Keys of the mapping that holds the last key of `loc`, in the order of the model."""
    kinds = _branches(kind)
    for key in loc[:-1]:
        kinds = [inner for one in kinds for inner in _inside(one, key)]
    names = [name for _, one in kinds if _is_model(one) for name in keys(one)]
    return list(dict.fromkeys(names))


def keys(model: type[BaseModel]) -> list[str]:
    """The keys of a model as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _branches(kind: Any, tag: str | None = None) -> list[tuple[str | None, Any]]:
    """The types that a value may have, with the tag of the union's branch."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        own = next((note.tag for note in notes if isinstance(note, Tag)), tag)
        return _branches(inner, own)
    if _is_model(kind) or get_origin(kind) in (dict, tuple, list):
        return [(tag, kind)]
    return [branch for one in get_args(kind) for branch in _branches(one, tag)]


def _inside(branch: tuple[str | None, Any], key: Key) -> list[tuple[str | None, Any]]:
    tag, kind = branch
    if isinstance(key, str) and key.startswith("<"):
        return [branch] if tag in (None, key) else []
    if _is_model(kind):
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.alias or name: hints[name] for name, field in kind.model_fields.items()}
        return _branches(fields[key]) if isinstance(key, str) and key in fields else []
    return _branches(get_args(kind)[1 if get_origin(kind) is dict else 0])
