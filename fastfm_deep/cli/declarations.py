"""Feature columns as the command line and files of options declare them.

A *declaration* is the type of a column and the options that were given for it; the rest follow the defaults, which
`--min-count`, `--handle-unknown` and `--separator` change.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli.config import COLUMNS
from fastfm_deep.data.feature_columns import COLUMN_TYPES, UNKNOWN_RULES, FeatureColumn, from_plain, to_plain

_RULES = {int: "an integer", str: "a string"}


class Declarations(NamedTuple):
    """All that the options say of columns.

    Attributes
    ----------
    by_type : dict of str to list of str
        Names by type: those of `--sparse`, `--dense` and `--varlen`.
    in_file : dict of str to dict
        Of a file of options: the type of each column, and its options.
    from_file : set of str
        Types whose names come from a file, too.
    defaults : dict
        Options of all columns that have such.
    """

    by_type: Mapping[str, Sequence[str]]
    in_file: Mapping[str, Mapping[str, Any]]
    from_file: frozenset[str]
    defaults: Mapping[str, Any]

    @property
    def are_given(self) -> bool:
        """Whether any column is declared."""
        return bool(self.in_file) or any(self.by_type.values())

    def options(self) -> list[str]:
        """The options that were given, for a message."""
        named = [f"--{kind}" for kind, names in self.by_type.items() if names]
        named += ["[columns]"] if self.in_file else []
        return named + ["--" + name.replace("_", "-") for name in self.defaults]

    def check(self, target: str | None) -> None:
        """See that the options are such, and that no column is declared twice or is the target.

        Raises
        ------
        InputError
            They are not.
        """
        if "min_count" in self.defaults:
            validation.check_integer("min_count", self.defaults["min_count"], minimum=1)
        if "handle_unknown" in self.defaults:
            validation.check_choice("handle_unknown", self.defaults["handle_unknown"], UNKNOWN_RULES)
        if self.defaults.get("separator") == "":
            raise validation.InputError("--separator= must be a string that is not empty, '|' for example.")
        places: dict[str, list[str]] = {}
        for kind, names in self.by_type.items():
            for name in names:
                places.setdefault(name, []).append(f"--{kind}")
                if kind in self.from_file and name in self.in_file:
                    places[name].append(f"[{COLUMNS}.{name}]")
        for name, where in places.items():
            if len(where) > 1:
                raise validation.twice_declared_error(name, where)
        if target in self.in_file and target not in places:
            raise validation.target_column_error(str(target), f"[{COLUMNS}.{target}]")
        if target in places:
            raise validation.target_column_error(str(target), places[str(target)][0])
        for name, stored in self.in_file.items():
            if target is not None and stored.get("weights") == target and name not in places:
                raise validation.target_column_error(target, f"weights of [{COLUMNS}.{name}]")

    def columns(self) -> list[FeatureColumn]:
        """The columns that are declared; what the command line says of one goes before what the file says."""
        declared: dict[str, Mapping[str, Any]] = {
            name: {"type": kind} for kind, names in self.by_type.items() for name in names
        }
        return [self._column(name, stored) for name, stored in ({**self.in_file} | declared).items()]

    def _column(self, name: str, stored: Mapping[str, Any]) -> FeatureColumn:
        return from_plain({"name": name, **self._defaults_of(stored), **stored})

    def _defaults_of(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        known = options_of(stored["type"])
        # What is hashed is not counted.
        left_out = {"min_count"} if stored.get("hash_buckets") is not None else set()
        return {name: value for name, value in self.defaults.items() if name in known and name not in left_out}

    def with_defaults(self, columns: Sequence[FeatureColumn]) -> list[FeatureColumn]:
        """Columns that were proposed, with the defaults that were given; a separator that was found stays."""
        found = []
        for column in columns:
            defaults = self._defaults_of({"type": column.kind})
            defaults.pop("separator", None)
            found.append(dataclasses.replace(column, **defaults))
        return found


def options_of(kind: str) -> dict[str, type]:
    """The options of a type of column and what their values are: int or str."""
    types = typing.get_type_hints(COLUMN_TYPES[kind])
    fields = [field.name for field in dataclasses.fields(COLUMN_TYPES[kind]) if field.name != "name"]
    return {name: int if int in typing.get_args(types[name]) or types[name] is int else str for name in fields}


def given_options(column: FeatureColumn) -> dict[str, Any]:
    """The type of a column, and its options that are not as by default."""
    usual = to_plain(COLUMN_TYPES[column.kind](column.name))
    stored = to_plain(column)
    return {key: value for key, value in stored.items() if key == "type" or value != usual[key]}


def columns_in_config(path: str, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The declarations of a file of options, `[columns.NAME]`.

    Raises
    ------
    InputError
        A key, a type or a value is wrong; the message names file, key and rule.
    """
    tables = content.get(COLUMNS, {})
    if not isinstance(tables, dict):
        rule = f"tables: [{COLUMNS}.NAME], and the type and options of that column below"
        raise validation.config_value_error(path, COLUMNS, tables, rule)
    return {name: _checked(path, name, stored) for name, stored in tables.items()}


def _checked(path: str, name: str, stored: Any) -> dict[str, Any]:
    where = f"[{COLUMNS}.{name}]"
    if not isinstance(stored, dict):
        rule = f"a table: {where}, and the type and options of the column below"
        raise validation.config_value_error(path, f"[{COLUMNS}] {name}", stored, rule)
    found = {key.replace("-", "_"): value for key, value in stored.items()}
    kind = found.get("type")
    if kind is None:
        raise validation.column_type_key_error(path, where)
    if not isinstance(kind, str) or kind not in COLUMN_TYPES:
        rule = "one of " + ", ".join(f'"{known}"' for known in COLUMN_TYPES)
        raise validation.config_value_error(path, f"{where} type", kind, rule)
    known = options_of(kind)
    for key, value in found.items():
        if key == "type":
            continue
        if key not in known:
            raise validation.config_key_error(path, f"{where} {key}", known, f"option of a {kind} column", key)
        if type(value) is not known[key]:
            raise validation.config_value_error(path, f"{where} {key}", value, _RULES[known[key]])
    try:
        from_plain({"name": name, **found})
    except validation.InputError as error:
        raise validation.declared_column_error(path, where, error) from None
    return found
