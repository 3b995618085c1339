"""Names are spelled as in JAX, Flax and NumPy; prose may be spelled otherwise."""

import ast
import inspect
import re
from pathlib import Path

import sparsejax as sj

STEMS = (
    "colour", "favour", "behaviour", "neighbour", "centre", "grey", "labell", "modell",
    "analys(e|ing)", "factoris", "generalis", "initialis", "linearis", "localis",
    "maximis", "minimis", "normalis", "optimis", "parametris", "penalis", "quantis",
    "randomis", "recognis", "regularis", "serialis", "standardis", "summaris",
    "vectoris", "visualis",
)  # fmt: skip
BRITISH = re.compile("|".join(STEMS), re.IGNORECASE)


def parameters(thing):
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):  # there is no signature to read
        return []


def names(path, thing):
    """All that users can write of a public thing: itself, its parameters and fields."""
    yield path
    if not inspect.isroutine(thing) and not inspect.isclass(thing):
        return
    yield from (f"{path}({name})" for name in parameters(thing))
    if not inspect.isclass(thing):
        return
    yield from (f"{path}.{name}" for name in getattr(thing, "__annotations__", ()))
    for name, member in vars(thing).items():
        if not name.startswith("_"):
            yield from names(f"{path}.{name}", member)


def public():
    for name in sj.__all__:
        if name == "experiments":  # whose names are flags: tests of help texts see them
            continue
        thing = getattr(sj, name)
        if not inspect.ismodule(thing):
            yield from names(name, thing)
            continue
        yield name
        for part in dir(thing):
            if part.startswith("_"):
                continue
            member = getattr(thing, part)
            owner = getattr(member, "__module__", None) or ""
            if owner.startswith("sparsejax"):
                yield from names(f"{name}.{part}", member)
            elif not callable(member) and not inspect.ismodule(member):
                yield f"{name}.{part}"


def test_names_of_the_library_are_spelled_the_american_way():
    found = {name for name in public() if BRITISH.search(name)}
    assert not found, sorted(found)


def test_the_walk_sees_functions_parameters_methods_and_fields():
    seen = set(public())
    assert {
        "masked", "relevance.explain(baseline)", "features.render(color)",
        "data.Labeled.pixels", "dissect.Consistency.still_detector",
        "flowgraph.Graph.relevance(output)",
    } <= seen  # fmt: skip
    assert BRITISH.search("relevance.randomisation_check")


def messages():
    """Every string of the library that is no docstring, with its file and line."""
    for path in sorted(Path(sj.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        alone = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in alone:
                    yield f"{path.name}:{node.lineno}: {node.value}"


def test_messages_say_is_not_a():
    """ "x is no array" is understood, and nobody says it; "there is no x" is fine."""
    stiff = re.compile(r"(?<!there )\b(is|are) no (?!more\b|less\b|limit\b)[a-z]+")
    assert [m for m in messages() if stiff.search(m)] == []
    assert stiff.search("it is no array") and not stiff.search("there is no array")
