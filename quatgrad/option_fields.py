"""Options as dataclasses: a field knows its help text, its choices and its name on disk.

    @dataclass(frozen=True)
    class Rule:
        keep: float = option("share of the weights that survives a level")
        score: str = option("what decides which weights go", "magnitude", choices=SCORES)

A field may be a dataclass of options itself. The functions here see the options of all of them in
one flat order, by name. `lth.command.arguments` makes flags and help of them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec
import numpy as np

from quatgrad.errors import OptionError, unknown

T = TypeVar("T")


def option(help: str, default: Any = MISSING, **about: Any) -> Any:
    """A field of a dataclass with a help text. `about` may say:

    choices  the values that it may have besides the default, which is the first where none is given
    bounds   (least, most) of a whole number
    metavar  what stands for its value in the help
    key      its name on disk and as a flag, where it is not that of the field
    names    False: it changes no number, so it is no part of the name of a run or stage
    """
    if default is MISSING and "choices" in about:
        default = next(iter(about["choices"]))
    return field(default=default, metadata={"help": help} | about)


def key(f: Field[Any]) -> str:
    """The name of an option on disk: it stays, whatever the field is called."""
    return f.metadata.get("key", f.name)


def leaves(options: Any) -> Iterator[Field[Any]]:
    """The options of a dataclass and of those in it, in order."""
    types = get_type_hints(options)
    for f in fields(options):
        if is_dataclass(types[f.name]):
            yield from leaves(types[f.name])
        else:
            yield f


def values(options: Any) -> dict[str, Any]:
    """The value of each option by name."""
    found: dict[str, Any] = {}
    for f in fields(options):
        value = getattr(options, f.name)
        found |= values(value) if is_dataclass(value) else {f.name: value}
    return found


def build(options: type[T], given: Mapping[str, Any]) -> T:
    """Options from values by name; those not given have their default.

    A text for an option that takes several is one of them. Raises `OptionError` for a name that is
    none, or an option that has no default.
    """
    known = {f.name: f for f in leaves(options)}
    for name in given:
        if name not in known:
            raise OptionError(unknown("option", name, known))
    for name, f in known.items():
        if f.default is MISSING and name not in given:
            raise OptionError(f"`{name}` is missing: {f.metadata['help']}")
    return _shaped(options, _listed(known, given), lambda kind, known: kind(**known))


def typed(options: type[T], given: Mapping[str, Any]) -> T:
    """`build` of values whose types nobody has looked at: 1 is 1.0 where a number may be broken.

    Raises `OptionError`, also for a value of the wrong type.
    """
    given = {n: v.item() if isinstance(v, np.generic) else v for n, v in given.items()}
    with suppress(TypeError, AttributeError):  # then the next lines say of which option
        build(options, given)
    try:
        known = _listed({f.name: f for f in leaves(options)}, given)
        return msgspec.convert(nested(options, known), options)
    except msgspec.ValidationError as error:
        raise OptionError(f"an option has a value of the wrong kind: {error}") from error


def _listed(known: Mapping[str, Field[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """A text for an option that takes several is one of them."""
    several = {name for name, f in known.items() if isinstance(f.default, tuple)}
    return {n: (v,) if n in several and isinstance(v, str) else v for n, v in given.items()}


def nested(options: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The same values as dictionaries in dictionaries, as the dataclasses are nested."""
    return _shaped(options, given, lambda kind, known: known)


def _shaped(options: Any, given: Mapping[str, Any], make: Callable[..., Any]) -> Any:
    inner = {n: t for n, t in get_type_hints(options).items() if is_dataclass(t)}
    own = {f.name: given[f.name] for f in fields(options) if f.name in given}
    return make(options, own | {n: _shaped(t, given, make) for n, t in inner.items()})


def replaced(options: T, **changes: Any) -> T:
    """The same options but for some, by name."""
    return build(type(options), values(options) | changes)


def check_values(options: Any) -> None:
    """Raise `OptionError` for an option of this dataclass outside of its choices or bounds."""
    for f in fields(options):
        about, value = f.metadata, getattr(options, f.name)
        if value == f.default:
            continue
        for chosen in value if isinstance(value, tuple | list) else (value,):
            if "choices" in about and chosen not in about["choices"]:
                raise OptionError(unknown(f.name, chosen, about["choices"]))
        if "bounds" in about:
            check_bounds(f.name, value, *about["bounds"])


def check_bounds(name: str, value: int, least: int, most: int) -> None:
    """Raise `OptionError` for an option whose value is not from `least` to `most`.

    `most` is more than anybody needs, and little enough that listing so many takes seconds.
    """
    if not least <= value <= most:
        raise OptionError(f"`{name}` is a number from {least} to {most}; got {value}")


# -------------------------------------------------------------------------------- on disk


def on_disk(options: Any) -> dict[str, Any]:
    """The value of each option by its name on disk."""
    found = values(options)
    return {key(f): found[f.name] for f in leaves(type(options))}


def from_disk(options: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Name on disk -> value as name -> value; `OptionError` for a name that is none."""
    names = {key(f): f.name for f in leaves(options)}
    for name in stored:
        if name not in names:
            raise OptionError(unknown("option", name, names))
    return {names[name]: value for name, value in stored.items()}


def non_default(options: Any) -> dict[str, Any]:
    """By name on disk, the options that change numbers and differ from their default.

    So a new option, which has a default, moves no name of a run or stage.
    """
    found = values(options)
    return {
        key(f): found[f.name]
        for f in leaves(type(options))
        if f.metadata.get("names", True) and found[f.name] != f.default
    }
