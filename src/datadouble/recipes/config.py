"""Configurations: dataclasses filled from a preset in TOML and from `--set key=value`.

A configuration is data, never executed. Every key is known, every value has a type, and a wrong key gets the nearest
right one as an answer.
"""

import dataclasses
import tomllib
from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from datadouble.errors import DataDoubleError, suggest

C = TypeVar("C")


def preset_names(recipe: str) -> list[str]:
    """Return the presets of a recipe."""
    folder = package_files("datadouble.recipes") / "presets" / recipe
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read_preset(recipe: str, name: str) -> dict[str, Any]:
    """Return the values of a preset.

    Raises
    ------
    DataDoubleError
        When there is none of that name.
    """
    known = preset_names(recipe)
    if name not in known:
        raise DataDoubleError(
            f"recipe {recipe} has no preset '{name}'", where="--preset", remedy=suggest(name, known)
        )
    text = (package_files("datadouble.recipes") / "presets" / recipe / f"{name}.toml").read_text()
    return tomllib.loads(text)


def read_config(path: Path) -> dict[str, Any]:
    """Return the values of a `config.toml`.

    Raises
    ------
    DataDoubleError
        When the file is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataDoubleError("this is no run: config.toml is missing", where=path.parent.name) from error
    except tomllib.TOMLDecodeError as error:
        raise DataDoubleError("this is no TOML", where=path.name, found=str(error)) from error


def build(kind: type[C], values: dict[str, Any], overrides: Sequence[str] = ()) -> C:
    """Fill the dataclass `kind` from nested `values` and then from `overrides` such as ``"model.depth=6"``.

    Raises
    ------
    DataDoubleError
        On a key that does not exist or a value of another type.
    """
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise DataDoubleError("--set takes key=value", where="--set", found=override)
        known = _keys(kind)
        if key not in known:
            raise DataDoubleError(f"there is no key '{key}'", where="--set", remedy=suggest(key, known))
        section, _, name = key.rpartition(".")
        target = merged.setdefault(section, {}) if section else merged
        target[name] = _parse(text)
    return _fill(kind, merged, "")


def to_toml(config: Any) -> str:
    """Return a configuration as TOML: plain values, then a table for each section."""
    plain, tables = [], []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            tables.append(f"\n[{item.name}]\n{to_toml(value)}")
        else:
            plain.append(f"{item.name} = {_toml_value(value)}\n")
    return "".join(plain + tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return repr(value)


def _parse(text: str) -> Any:
    """Read a value as TOML would; what is no TOML value is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _keys(kind: type) -> list[str]:
    """Return all dotted keys of a dataclass."""
    keys = []
    for name, hint in get_type_hints(kind).items():
        keys += [f"{name}.{key}" for key in _keys(hint)] if _is_section(hint) else [name]
    return keys


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _fill(kind: type[C], values: dict[str, Any], section: str) -> C:
    hints = get_type_hints(kind)
    arguments = {}
    for name, value in values.items():
        key = f"{section}{name}"
        if name not in hints:
            raise DataDoubleError(
                f"there is no key '{key}'", where="config", remedy=suggest(name, list(hints))
            )
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise DataDoubleError(
                    f"'{key}' is a section", where="config", remedy=f"set one of its keys: {key}.…"
                )
            arguments[name] = _fill(hint, value, f"{key}.")  # type: ignore[arg-type]
        else:
            arguments[name] = _convert(value, hint, key)
    return kind(**arguments)


def _convert(value: Any, hint: Any, key: str) -> Any:
    if get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_convert(item, get_args(hint)[0], key) for item in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif (
        hint is int and isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    ):
        return int(value)
    elif hint in (str, bool) and isinstance(value, hint):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise DataDoubleError(f"'{key}' takes a value of type {wanted}", where="config", found=repr(value))
