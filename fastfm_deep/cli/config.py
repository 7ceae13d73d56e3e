"""Options from a TOML file.

A *key* is the name of an option without its dashes, `n_factors` or `n-factors`. Keys at the top of the file go to
every command that has the option; those of a table, `[train]`, to that command alone, and before those at the top.
Tables `[columns.NAME]` declare columns; see `declarations.py`.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fastfm_deep import validation

NAMES = "NAME,..."
"""What stands in the help for the value of an option that takes names with commas between them."""

COLUMNS = "columns"
"""The table of a file that declares columns."""

# What makes no sense in a file.
_LEFT_OUT = frozenset({"config", "help"})


def read_config(path: str) -> dict[str, Any]:
    """What a TOML file says.

    Raises
    ------
    InputError
        It is no TOML, or cannot be read.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise validation.config_file_error(path, f"cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise validation.config_file_error(path, f"is no TOML: {error}") from None


class Setting(NamedTuple):
    """An option that a file may set: the parameter of the command's function, and what values it takes."""

    parameter: str
    rule: str
    takes_list: bool
    takes_names: bool = False  # with commas between them, as on the command line; those of a list stay as they are


_FITS: dict[str, Callable[[Any], bool]] = {
    "true or false": lambda value: isinstance(value, bool),
    "an integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "a number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    # base = 1 and base = "1" mean the same.
    "a string": lambda value: isinstance(value, str | int) and not isinstance(value, bool),
}
_RULES = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def settings_of(command: Any) -> dict[str, Setting]:
    """What a file may set of a command, by key."""
    types = typing.get_type_hints(inspect.unwrap(command.callback))
    found = {}
    for parameter in command.params:
        for text in parameter.opts:
            if parameter.param_type_name == "option" and text.startswith("--") and text[2:] not in _LEFT_OUT:
                plain = [kind for kind in _RULES if kind in _parts(types[parameter.name])]
                takes_list = list in _parts(types[parameter.name])
                takes_names = parameter.metavar == NAMES
                found[_plain(text[2:])] = Setting(parameter.name, _RULES[plain[0]], takes_list, takes_names)
    return found


def _parts(annotation: Any) -> list[Any]:
    """The types in an annotation like list[str] | None."""
    inner = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    return [annotation, origin, *(part for item in inner for part in _parts(item))]


def _plain(key: str) -> str:
    return key.replace("-", "_")


def names_in(given: str, option: str) -> list[str]:
    """Names out of user,item."""
    names = [name.strip() for name in given.split(",")]
    if "" in names:
        raise validation.empty_name_error(option, given)
    return names


def settings_for(name: str, commands: Mapping[str, Any], path: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says for a command, by the parameters of the command's function.

    Parameters
    ----------
    name : str
        Of the command that is run.
    commands : mapping of str and click commands
        All that take such a file.
    path : str
    content : dict
        What the file says.

    Raises
    ------
    InputError
        A key or table is unknown, of any command, or a value is of the wrong type.
    """
    known = {command: settings_of(found) for command, found in commands.items()}
    anywhere = {key: setting for settings in known.values() for key, setting in settings.items()}
    chosen: dict[str, Any] = {}
    in_table: dict[str, Any] = {}
    for key, value in content.items():
        if key == COLUMNS:
            continue
        if isinstance(value, dict) and key not in known:
            tables = [f"[{command}]" for command in known] + [f"[{COLUMNS}.NAME]"]
            raise validation.config_key_error(path, f"[{key}]", tables, "table")
        if isinstance(value, dict):
            checked = {_plain(inner): _check(path, inner, item, known[key], key) for inner, item in value.items()}
            in_table |= checked if key == name else {}
        elif key in known:
            raise validation.config_value_error(path, key, value, f"a table: [{key}], and its options below")
        else:
            # An option of this command may take what the one of the same name elsewhere does not.
            chosen[_plain(key)] = _check(path, key, value, anywhere | known[name])
    chosen = {key: value for key, value in chosen.items() if key in known[name]} | in_table
    return {known[name][key].parameter: value for key, value in chosen.items()}


def _check(path: str, key: str, value: Any, settings: Mapping[str, Setting], table: str | None = None) -> Any:
    """The value, as if it had been typed, if there is such an option and it takes such a value."""
    where = f"[{table}] {key}" if table else key
    setting = settings.get(_plain(key))
    if setting is None:
        raise validation.config_key_error(path, where, settings, "option", _plain(key))
    several = setting.takes_list and isinstance(value, list)
    items = value if several else [value]
    if not items or not all(map(_FITS[setting.rule], items)):
        rule = f"{setting.rule}, or a list of such" if setting.takes_list else setting.rule
        raise validation.config_value_error(path, where, value, rule)
    if setting.rule == "a string":
        items = [str(item) for item in items]
    if setting.takes_names and not several:
        items = names_in(items[0], where)
    return items if setting.takes_list else items[0]
