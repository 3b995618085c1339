"""The rounds of a lottery run: how much of what each removes."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from sparsejax import masks, prune
from sparsejax.experiments.lottery import build
from sparsejax.experiments.lottery.config import Config, resolve, usual_rounds
from sparsejax.experiments.lottery.tasks import form


class Rounds(NamedTuple):
    """What the rounds will do.

    Attributes:
        fractions: removed in each round.
        scopes: scope of each round, as in `prune.remove`.
        counts: weights kept at every level, the dense one first.
    """

    fractions: list[float | Fraction]
    scopes: list[Any]
    counts: list[int]


def rounds(config: Config, data_dir: str | Path | None = None) -> Rounds:
    """The rounds of a config.

    Args:
        config: of a run.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: for anything in the config that does not exist or cannot be.
    """
    config = resolve(config)
    return of_form(config, *form(config, data_dir))


def of_form(config: Config, shape: tuple[int, ...], outputs: int) -> Rounds:
    """The rounds of a config with everything filled in, from the form of its data."""
    sizes = masks.sizes(build.prunable(config, shape, outputs))
    total, fraction = sum(sizes.values()), config.fraction or 0.0
    fractions: list[Any]
    scopes: list[Any]
    if config.layer_fractions:
        if config.final_count is not None:
            raise ValueError("final_count needs scope=global without layer_fractions")
        scopes = _by_layer(config, sizes)
        fractions = [fraction] * len(scopes)
    elif config.final_count is None:
        count = usual_rounds(config) if config.rounds is None else config.rounds
        fractions, scopes = [fraction] * count, [config.scope] * count
    else:
        fractions = _to_final_count(config, total)
        scopes = ["global"] * len(fractions)
    counts, left = [total], dict(sizes)
    for fraction, scope in zip(fractions, scopes, strict=True):
        if scope == "global":
            counts.append(prune.kept_count(counts[-1], fraction))
        else:
            rates = scope if isinstance(scope, dict) else {}
            left = {
                k: prune.kept_count(n, rates.get(k, fraction)) for k, n in left.items()
            }
            counts.append(sum(left.values()))
    return Rounds(fractions, scopes, counts)


def _by_layer(config: Config, sizes: dict[str, int]) -> list[dict[str, float]]:
    """Rates of single layers in every round."""
    own = _layer_fractions(config, sizes)
    usual = usual_rounds(config)
    longest = max((n for _, n in own.values() if n is not None), default=usual)
    count = longest if config.rounds is None else config.rounds

    def rate(fraction, rounds, level):
        return fraction if rounds is None or level < rounds else 0.0

    return [
        {path: rate(f, n, level) for path, (f, n) in own.items()}
        for level in range(count)
    ]


def _layer_fractions(config, sizes) -> dict[str, tuple[float, int | None]]:
    """Rate and number of rounds (None: all) for each layer named in the config."""
    own = {}
    for entry in config.layer_fractions:
        match = re.fullmatch(r"(.+)=([\d.]+)(?:x([1-9]\d*))?", entry)
        if match is None:
            raise ValueError(
                f"layer_fractions entry {entry!r} is not like 'dense_0=0.1' or "
                "'dense_0=0.1x20'"
            )
        layer, rate, count = match.groups()
        path = build.layer(layer, list(sizes))
        if path in own:
            raise ValueError(f"layer_fractions names {layer!r} twice")
        own[path] = float(rate), int(count) if count else None
    return own


def _to_final_count(config: Config, total: int) -> list[float | Fraction]:
    final, fraction = config.final_count or 0, config.fraction or 0.0
    if config.scope != "global":
        raise ValueError("final_count needs scope=global")
    if not 0 < final < total:
        raise ValueError(f"final_count must be between 0 and {total}, got {final}")
    fractions: list[float | Fraction] = []
    count = total
    while count > final and len(fractions) != config.rounds:
        following = prune.kept_count(count, fraction)
        last = following <= final or len(fractions) + 1 == config.rounds
        if following == count and not last:
            raise ValueError(f"fraction {fraction} never reaches {final} weights")
        fractions.append(Fraction(count - final, count) if last else fraction)
        count = final if last else following
    return fractions
