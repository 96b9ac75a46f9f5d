"""
Values of the lab as what JSON can hold, and back.

Owns: attrs classes as objects, enums by value, tuples as lists.
Knows nothing of: which values there are; the type to be read says all.
Driven by: both ends of the pipe between L{NamespaceLab} and its engine.
"""

from __future__ import annotations

import enum
import types
import typing
from typing import Any, TypeVar

import attrs

from holepunch.errors import BadTopology

_T = TypeVar("_T")


def toPlain(value: Any) -> Any:
    """
    Take a value apart.
    """
    if attrs.has(type(value)):
        return {
            field.name: toPlain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.init
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [toPlain(each) for each in value]
    return value


def fromPlain(kind: type[_T], plain: Any) -> _T:
    """
    Put a value together.

    @raise BadTopology: C{plain} is not the form of any such value.
    """
    try:
        return typing.cast(_T, _fromPlain(kind, plain))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadTopology(f"this is no {kind.__name__}: {error}") from error


def _fromPlain(kind: Any, plain: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (wanted,) = (each for each in arguments if each is not type(None))
        return None if plain is None else _fromPlain(wanted, plain)
    if origin is tuple:
        return tuple(_fromPlain(arguments[0], each) for each in plain)
    if attrs.has(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _fromPlain(hints[name], each) for name, each in plain.items()})
    if issubclass(kind, enum.Enum):
        return kind(plain)
    if kind is float and isinstance(plain, int):
        return float(plain)
    if not isinstance(plain, kind):
        raise TypeError(f"{plain!r} is no {kind.__name__}")
    return plain
