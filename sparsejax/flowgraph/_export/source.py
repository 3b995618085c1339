"""A graph as a program to read or to ship: Python or C99, one line for a neuron.

What the network is, without a framework: `predict` takes the flattened input and gives
the outputs. Python needs the standard library alone, C a compiler and -lm. Names come
from the keys of the nodes. As in JAX, nothing raises: what is too large is infinite,
what is outside a function's domain is not a number. Constants are the shortest decimals
that give the same float32, or float64 where one of them is no float32.
"""

import functools
import keyword
import math
import re
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sparsejax.flowgraph import _levels, _structure
from sparsejax.flowgraph._ops import OPS
from sparsejax.flowgraph._structure import PLAIN, Structure

WIDTH, MOST_TERMS, MOST_NESTED, FEW_INPUTS = 88, 100, 64, 32

PYTHON = {  # what differs from `math`, which raises where JAX gives inf or nan
    "relu": """(x):
    return 0.0 if x < 0 else x""",
    "exp": """(x):
    return math.exp(x) if x < 709.78 else x * math.inf""",
    "exp2": """(x):
    return 2.0**x if x < 1024 else x * math.inf""",
    "expm1": """(x):
    return math.expm1(x) if x < 709.78 else x * math.inf""",
    "log": """(x):
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan""",
    "log1p": """(x):
    return math.log1p(x) if x > -1 else -math.inf if x == -1 else math.nan""",
    "sqrt": """(x):
    return math.sqrt(x) if x >= 0 else math.nan""",
    "rsqrt": """(x):
    if x == 0:
        return math.copysign(math.inf, x)
    return 1 / math.sqrt(x) if x > 0 else math.nan""",
    "square": """(x):
    return x * x""",
    "sign": """(x):
    return float((x > 0) - (x < 0)) if x == x else x""",
    "sigmoid": """(x):
    z = math.exp(-abs(x))
    return 1 / (1 + z) if x >= 0 else z / (1 + z)""",
    "sin": """(x):
    return math.sin(x) if math.isfinite(x) else math.nan""",
    "cos": """(x):
    return math.cos(x) if math.isfinite(x) else math.nan""",
    "tan": """(x):
    return math.tan(x) if math.isfinite(x) else math.nan""",
    "asin": """(x):
    return math.asin(x) if abs(x) <= 1 else math.nan""",
    "acos": """(x):
    return math.acos(x) if abs(x) <= 1 else math.nan""",
    "sinh": """(x):
    return math.sinh(x) if abs(x) < 710.4 else x * math.inf""",
    "cosh": """(x):
    return math.cosh(x) if abs(x) < 710.4 else abs(x) * math.inf""",
    "acosh": """(x):
    return math.acosh(x) if x >= 1 else math.nan""",
    "atanh": """(x):
    if abs(x) == 1:
        return x * math.inf
    return math.atanh(x) if abs(x) < 1 else math.nan""",
    "floor": """(x):
    return float(math.floor(x)) if math.isfinite(x) else x""",
    "ceil": """(x):
    return float(math.ceil(x)) if math.isfinite(x) else x""",
    "rint": """(x):
    return float(round(x)) if math.isfinite(x) else x""",
    "divide": """(x, y):
    return x / y if y else x * math.copysign(math.inf, y)""",
    "power": """(x, y):
    odd = math.isfinite(y) and y % 2 == 1
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and odd else math.inf
    except ValueError:
        pole = math.copysign(math.inf, x) if odd else math.inf
        return pole if x == 0 else math.nan""",
    "fmod": """(x, y):
    return math.fmod(x, y) if math.isfinite(x) and y else math.nan""",
    "maximum": """(*xs):
    return math.nan if any(x != x for x in xs) else max(xs)""",
    "minimum": """(*xs):
    return math.nan if any(x != x for x in xs) else min(xs)""",
}

C = {  # these let what is not a number through, which fmax and fmin do not
    "relu": "(real x) { return x < 0 ? 0 : x; }",
    "sign": "(real x) { return x > 0 ? 1 : x < 0 ? -1 : x; }",
    "square": "(real x) { return x * x; }",
    "maximum": "(real x, real y) { return x > y || x != x ? x : y; }",
    "minimum": "(real x, real y) { return x < y || x != x ? x : y; }",
}

TAKEN = {
    *keyword.kwlist,
    *keyword.softkwlist,
    *PYTHON,
    *C,
    *"abs any bool float len list max min range round x xs y z out math".split(),
    *"predict auto break case char const continue default do double else".split(),
    *"enum extern for goto if inline int long register restrict return".split(),
    *"short signed sizeof".split(),
    *"static struct switch typedef union unsigned void volatile while real i n".split(),
    *"predict_batch rows main asm typeof bool true false complex I".split(),
    *"acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf".split(),
    *"erfc exp exp2 expm1 fabs fdim floor fma fmax fmin fmod frexp hypot ilogb".split(),
    *"j0 j1 jn y0 y1 yn gamma ldexp lgamma llrint llround log log10 log1p".split(),
    *"log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow".split(),
    *"remainder remquo rint round scalbln scalbn significand sin sinh sqrt".split(),
    *"tan tanh tgamma trunc isnan isinf isfinite signbit NAN INFINITY carg".split(),
    *"cimag conj cproj creal drem finite scalb exp10 pow10".split(),
}


class _Language(NamedTuple):
    """How a language writes things.

    Attributes:
        template: field of `Op`.
        functions: what it lacks.
        one: name of every operation that is a graph.
        name: from a key to an identifier.
        digits: from a positive number to text.
        new, end: around a statement that introduces a name.
    """

    template: str
    functions: dict[str, str]
    one: dict[str, str]
    name: Callable[[str], str]
    digits: Callable[[float], str]
    new: str = ""
    end: str = ""


def to_python(graph: Structure) -> str:
    """Python source with `predict(x)`: a list of all inputs in, one of outputs out.

    Returns:
        A module for Python 3.11 or newer. `predict` raises a ValueError for another
        number of inputs.
    """
    graph, name = _neurons(graph), _namer()
    bodies = _functions(graph)
    one = {function: name(function) for function in bodies}
    digits = _digits(_single(graph), "", "math.inf", "math.nan")
    language = _Language("python", PYTHON, one, name, digits)
    lines = []
    for function, body in bodies.items():
        statements, results = _program(body, language, "x{}")
        lines += ["", "", f"def {one[function]}({_operands(body, '')}):"]
        lines += [*statements, f"    return {results[0]}"]
    statements, results = _program(graph, language, "x[{}]")
    size = len(graph.low)
    lines += [
        "",
        "",
        "def predict(x):",
        f'    """From {size} numbers to {len(results)}."""',
        f"    if len(x) != {size}:",
        f'        raise ValueError(f"expected {size} numbers, got {{len(x)}}")',
        *statements,
        *_filled("return [", [f"{r}," for r in results[:-1]] + results[-1:], "]"),
    ]
    helpers = [f"\n\ndef {k}{v}" for k, v in _used(lines, PYTHON)]
    return "\n".join([f'"""{_about(graph)}"""\n', "import math", *helpers, *lines, ""])


def to_c(graph: Structure) -> str:
    """C99 source with `void predict(const float *x, float *out)`, and a batch of it.

    Returns:
        A file to compile with `cc -O2 -shared -fPIC predict.c -o predict.so -lm`. It
        computes in float, or in double where a constant is no float32.
    """
    graph, name, single = _neurons(graph), _namer(), _single(graph)
    bodies = _functions(graph)
    one = {function: name(function) for function in bodies}
    digits = _digits(single, "f" if single else "", "INFINITY", "NAN")
    language = _Language("c", C, one, name, digits, "const real ", ";")
    lines = []
    for function, body in bodies.items():
        statements, results = _program(body, language, "x{}")
        operands = _operands(body, "real ")
        lines += ["", f"static real {one[function]}({operands})", "{"]
        lines += [*statements, f"    return {results[0]};", "}"]
    statements, results = _program(graph, language, "x[{}]")
    size, count = len(graph.low), len(results)
    lines += [
        "",
        "void predict(const float *x, float *out)",
        "{",
        *statements,
        *(f"    out[{i}] = {result};" for i, result in enumerate(results)),
        "}",
        "",
        "void predict_batch(const float *x, float *out, long rows)",
        "{",
        "    for (long i = 0; i < rows; i++)",
        f"        predict(x + {size} * i, out + {count} * i);",
        "}",
        "",
    ]
    helpers = [f"static inline real {k}{v}" for k, v in _used(lines, C)]
    real = f"typedef {'float' if single else 'double'} real;"
    library = "tgmath.h" if single else "math.h"
    head = [f"/* {_about(graph)}*/", "", f"#include <{library}>", "", real]
    return "\n".join([*head, *helpers, *lines])


def _namer() -> Callable[[str], str]:
    """A function from any text to a valid identifier, another one every time."""
    given = set(TAKEN)

    def name(key: str) -> str:
        plain = re.sub(r"[^0-9A-Za-z]+", "_", key)[:48].strip("_")
        plain = plain if plain[:1].isalpha() else f"n_{plain}".rstrip("_")
        new, number = plain, 2
        # x0, x1, ...: the operands of functions; y0, j1: of C's library
        while new in given or re.fullmatch(r"[xyj]\d+|[xyj]n", new):
            new, number = f"{plain}_{number}", number + 1
        given.add(new)
        return new

    return name


def _neurons(graph: Structure) -> Structure:
    return _levels.at(graph, "neuron") if graph.level == "dot" else graph


def _functions(graph: Structure) -> dict[str, Structure]:
    """The operations that are graphs, every one after those that it uses."""
    found: dict[str, Structure] = {}
    for name, body in graph.functions.items():
        found |= _functions(body) | {name: body}
    return found


def _operands(body: Structure, kind: str) -> str:
    return ", ".join(f"{kind}x{i}" for i in range(len(body.low)))


def _single(graph: Structure) -> bool:
    """Whether all constants are float32."""
    bodies = [graph, *_functions(graph).values()]
    numbers = np.concatenate([a for g in bodies for a in (g.coefs, g.consts)])
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32).astype(np.float64)
    return bool(np.array_equal(numbers, single, equal_nan=True))


def _digits(single: bool, suffix: str, inf: str, nan: str) -> Callable[[float], str]:
    kind = np.float32 if single else np.float64

    def digits(value: float) -> str:
        if math.isfinite(value):
            return str(kind(value)) + suffix
        return nan if math.isnan(value) else inf

    return digits


def _used(lines: list[str], functions: dict[str, str]) -> list[tuple[str, str]]:
    called = set(re.findall(r"(?<![.\w])([a-z]\w*)\(", "\n".join(lines)))
    return [(name, text) for name, text in functions.items() if name in called]


def _about(graph: Structure) -> str:
    """Text that is safe in a docstring and in a comment."""

    def plain(c):
        return c if c.isprintable() and c not in '"\\*/' else "?"

    names = ["".join(map(plain, name)) for name in graph.output_names]
    read = f"{len(graph.inputs):,} of {len(graph.low):,}"
    counts = (
        f"{graph.num_vertices:,} nodes and {graph.num_edges:,} edges. Reads {read} "
        f"inputs (flattened, shape {tuple(graph.shape)}). Outputs: {', '.join(names)}."
    )
    text = textwrap.fill(counts, WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"A network as a program, written by sparsejax.\n\n{text}\n"


def _program(graph: Structure, language: _Language, read: str) -> tuple[list, list]:
    """Statements for all nodes, and what the outputs are."""
    values: list[str] = []
    lines: list[str] = []
    few = len(graph.inputs) <= FEW_INPUTS and "[" in read
    for i, (op, args, coefs, const, key) in enumerate(_structure.nodes(graph)):
        operands, value = [values[a] for a in args], ""
        if op == "input":
            value = read.format(graph.inputs[i])
            if few and not key.startswith("x["):  # a name that says something
                name = language.name(key)
                lines += _assigned(name, "{0}", [value], language)
                value = name
        elif op in PLAIN or _structure.arity(graph, op) == 1:
            value = language.name(key)
            template = "{0}" if op in PLAIN else _template(op, language, True)
            terms = _terms(coefs, operands, const, language)
            lines += _assigned(value, template, terms, language)
        else:
            value = language.name(key)
            template = _template(op, language, False)
            if "{fold}" in template:
                lines += _folded(value, template, operands, language)
            else:
                text = template.format(*operands, all=", ".join(operands))
                lines += [f"    {language.new}{value} = {text}{language.end}"]
        values.append(value)
    return lines, [values[node] for node in graph.outputs.tolist()]


def _folded(name, template, operands, language) -> list[str]:
    """Two operands at a time; in parts, as compilers limit how deep calls nest."""

    def nest(a, b):
        return template.replace("{fold}", f"{a}, {b}")

    if len(operands) <= MOST_NESTED:
        text = functools.reduce(nest, operands)
        return [f"    {language.new}{name} = {text}{language.end}"]
    new = language.new.removeprefix("const ")
    lines = [f"    {new}{name} = {operands[0]}{language.end}"]
    for at in range(1, len(operands), MOST_NESTED):
        text = functools.reduce(nest, operands[at : at + MOST_NESTED], name)
        lines.append(f"    {name} = {text}{language.end}")
    return lines


def _template(op: str, language: _Language, single: bool) -> str:
    """With {0} for a sum, or {0}, {1}, {all}, {fold} for names."""
    if op in language.one:
        return language.one[op] + ("({0})" if single else "({all})")
    return getattr(OPS[op], language.template)


def _terms(coefs, operands, const, language) -> list[str]:
    """`0.5`, `+ 0.25*x[3]`, `- h`: the words of a sum."""
    words = [(const, language.digits(abs(const)))] if const or not coefs else []
    for c, operand in zip(coefs, operands, strict=True):
        factor = "" if abs(c) == 1 else f"{language.digits(abs(c))}*"
        words.append((c, factor + operand))
    return [f"{'-' if c < 0 else '+'} {text}" for c, text in words]


def _assigned(name, template, terms, language) -> list[str]:
    """A statement; a long sum in parts, as compilers recurse into it."""
    first, last = template.split("{0}")
    if len(terms) <= MOST_TERMS:
        head = f"{language.new}{name} = {first}"
        return _filled(head, _sum(terms), last + language.end)
    lines = []
    for at in range(0, len(terms), MOST_TERMS):
        new = language.new.removeprefix("const ") if at == 0 else ""
        head = f"{new}{name} {'+' * (at > 0)}= "
        lines += _filled(head, _sum(terms[at : at + MOST_TERMS]), language.end)
    if template != "{0}":
        lines.append(f"    {name} = {first}{name}{last}{language.end}")
    return lines


def _sum(terms: list[str]) -> list[str]:
    """Without the sign of a first term that is positive."""
    return [terms[0].removeprefix("+ ").replace("- ", "-", 1), *terms[1:]]


def _filled(head: str, words: list[str], tail: str) -> list[str]:
    """One line, or several if that is too long for one."""
    line = f"    {head}{' '.join(words)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    if head[-1] not in "([":
        head, tail = f"{head}(", f"){tail}"
    lines, line = [f"    {head}"], "       "
    for word in words:
        if len(line) + 1 + len(word) > WIDTH and line.strip():
            lines.append(line)
            line = "       "
        line += f" {word}"
    return [*lines, line, f"    {tail}"]
