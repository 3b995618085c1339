"""Pickles read as data: nothing in them is run, whatever it is.

A pickle is a program for a machine with a stack. Its operations that make numbers,
strings, tuples, lists and dictionaries are carried out here, one by one; functions and
classes that it names are looked up in a table of ours and nowhere else, and all others
are refused. Arrays are descriptions (`Built`): who asked for them makes the numbers.
Time and memory are bounded by the length of the pickle: keys are strings and small
integers, since hashing a tuple may take for ever, and calls have few arguments, since a
long tuple costs two bytes to hand over again.
"""

import dataclasses
import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_GIVEN = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT",
    "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE",
    "BINUNICODE8", "SHORT_BINUNICODE", "BINBYTES", "BINBYTES8", "SHORT_BINBYTES",
})  # fmt: skip
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STEPS = 2**22  # of a pickle; a tensor takes about 50
_ARGUMENTS = 64


class Function(NamedTuple):
    """What stands for a function or class that a pickle may call."""

    make: Callable[..., Any]


@dataclasses.dataclass(eq=False)
class Built:
    """What stands for an object that a pickle makes in two steps.

    Attributes:
        args: Arguments of the call that makes it.
        state: What it is given afterwards, if anything.
    """

    args: tuple
    state: Any = None


def built(*args: Any) -> Built:
    """An object of these arguments, for `Function`."""
    return Built(args)


def read(
    stream: io.BytesIO, names: Mapping[str, Any], stored: Callable[[Any], Any]
) -> Any:
    """The value of one pickle; the stream is behind it then.

    Args:
        stream: where it begins.
        names: values for the names that it may have, such as "collections.OrderedDict".
        stored: makes the value for what the pickle says is stored elsewhere.

    Raises:
        ValueError: for other names and operations, and bytes that are no pickle.
    """
    try:
        return _run(stream, names, stored)
    except LookupError:
        raise ValueError("its pickle is refused: it takes what is not there") from None
    except Exception as error:  # whatever bytes that are no pickle can cause
        what = str(error) or type(error).__name__
        raise ValueError(f"its pickle is refused: {what}") from None


def _run(
    stream: io.BytesIO, names: Mapping[str, Any], stored: Callable[[Any], Any]
) -> Any:
    stack, marks, memo = [], [], {}
    for step, (opcode, given, _) in enumerate(pickletools.genops(stream)):
        if step == _STEPS:
            raise ValueError(f"it has more than {_STEPS:,} steps")
        match opcode.name:
            case name if name in _GIVEN:
                stack.append(given)
            case name if name in _NEW:
                stack.append(_NEW[name]())
            case name if name in _TUPLES:
                items = stack[-_TUPLES[name] :]
                stack[-_TUPLES[name] :] = [tuple(items)]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[given] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[given])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(_marked(stack, marks)))
            case "LIST":
                stack.append(_marked(stack, marks))
            case "DICT":
                items = _marked(stack, marks)
                stack.append(dict_of(zip(items[::2], items[1::2], strict=True)))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _plain(stack[-1], dict).update(dict_of([(key, value)]))
            case "SETITEMS":
                items = _marked(stack, marks)
                pairs = zip(items[::2], items[1::2], strict=True)
                _plain(stack[-1], dict).update(dict_of(pairs))
            case "APPEND":
                value = stack.pop()
                _plain(stack[-1], list).append(value)
            case "APPENDS":
                items = _marked(stack, marks)
                _plain(stack[-1], list).extend(items)
            case "GLOBAL":
                stack.append(_named(str(given).replace(" ", ".", 1), names))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(
                    _named(f"{_plain(module, str)}.{_plain(name, str)}", names)
                )
            case "REDUCE":
                args, called = few(stack.pop()), stack.pop()
                stack.append(_plain(called, Function).make(*args))
            case "BUILD":
                state = stack.pop()
                if type(stack[-1]) is Built:
                    stack[-1].state = state
                else:  # attributes, such as the versions of modules
                    _plain(stack[-1], dict)
            case "BINPERSID":
                stack.append(stored(few(stack.pop())))
            case "POP":
                stack.pop()
            case "POP_MARK":
                _marked(stack, marks)
            case "DUP":
                stack.append(stack[-1])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case name:
                raise ValueError(f"it uses {name} {given}")
    if len(stack) != 1:
        raise ValueError(f"it ends with {len(stack)} values")
    return stack[0]


def _marked(stack: list, marks: list[int]) -> list:
    """What lies above the last mark, taken off."""
    start = marks.pop()
    items = stack[start:]
    del stack[start:]
    return items


def dict_of(pairs: Any) -> dict:
    """A dictionary, if its keys are cheap."""
    found = {}
    for key, value in pairs:
        if type(key) is not str and not (type(key) is int and abs(key) < 2**60):
            raise ValueError(f"it has a {type(key).__name__} for a key")
        found[key] = value
    return found


def few(arguments: Any) -> tuple:
    """Arguments of a call, if they are a tuple of not too many."""
    if len(_plain(arguments, tuple)) > _ARGUMENTS:
        raise ValueError(f"it hands over {len(arguments):,} arguments")
    return arguments


def _named(name: str, names: Mapping[str, Any]) -> Any:
    if name not in names:
        raise ValueError(f"it names {name}; only tensors and arrays are read")
    return names[name]


def _plain(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"it takes a {type(value).__name__} for a {kind.__name__}")
    return value
