"""What records of a run say, in words and in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparsejax.experiments._study.records import group, mean
from sparsejax.experiments.circuits.config import ABLATIONS, LABELS
from sparsejax.pages import counted

Record = Mapping[str, Any]
NEAR = 0.005  # of losses


def of(records: Sequence[Record], part: str, **where: Any) -> list[Record]:
    """The records of finders, or of circuits, with these values."""
    return [
        record
        for record in records
        if record["part"] == part and all(record[k] == v for k, v in where.items())
    ]


def line(records: Sequence[Record], seed: int, ablation: str) -> str:
    """One line of progress for a part."""
    (circuit,) = of(records, "circuit", seed=seed, ablation=ablation)
    words = {True: "faithful", False: "not faithful", None: "not compared"}
    return (
        f"seed {seed}, {ABLATIONS[ablation]}: {circuit['size']} of "
        f"{counted(circuit['nodes'], 'node')}, loss {circuit['loss']:.3g} "
        f"(all {circuit['full']:.3g}, none {circuit['empty']:.3g}), "
        f"{words[circuit['faithful']]}"
    )


def certified(record: Record, delta: float) -> str:
    """One line on the certified circuit of an image."""
    proved = "proved" if record["proved"] else "not proved"
    return (
        f"image {record['image']}: {record['size']} of "
        f"{counted(record['units'], 'unit')}, {proved} within {delta:g} by "
        f"{record['by']} ({record['bound']:.3g})"
    )


def finding(records: Sequence[Record]) -> str:
    """One sentence: how small circuits are, and which finders miss the best."""
    circuits = of(records, "circuit")
    sizes = sorted({record["size"] for record in circuits})
    exact = all(record["exact"] for record in circuits)
    span = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    known = "the best circuits" if exact else "the smallest circuits found"
    text = f"{known} have {span} of {counted(circuits[0]['nodes'], 'node')}"
    rows = {
        name: mean(some, "mean_gap")
        for name, some in group(_ranked(records), "finder").items()
        if name != "exact"
    }
    if rows:
        worst = max(rows, key=lambda name: rows[name])
        near = sum(gap <= NEAR for gap in rows.values())
        if near == len(rows):
            text += f"; {counted(near, 'finder')} within {NEAR} of the best sets"
        else:
            text += (
                f"; {near} of {counted(len(rows), 'finder')} within {NEAR} of the best "
                f"sets, {LABELS[worst]} {rows[worst]:.3f} above them on average"
            )
    refused = sum(record["faithful"] is False for record in circuits)
    if refused:
        text += f"; {refused} of {len(circuits)} are refused, as controls do as well"
    return text[0].upper() + text[1:]


def table(records: Sequence[Record]) -> tuple[list[str], list[list[Any]]]:
    """Finders beside the best there is: means over seeds, by ablation."""
    by_finder = group(of(records, "finder"), "finder")
    ablations = [*group(of(records, "circuit"), "ablation")]
    header = ["finder", *(f"gap, {ABLATIONS[name]}" for name in ablations),
              "largest gap", "smallest set", "best sets", "evaluations"]  # fmt: skip
    known = any("recovered" in record for record in by_finder.get("eliminate", ()))
    header += ["known circuit"] if known else []
    rows = []
    for name in [name for name in LABELS if name in by_finder]:
        some = by_finder[name]
        gaps = [_gap(of(some, "finder", ablation=one)) for one in ablations]
        rows.append([LABELS[name], *gaps, *_facts(some, records, known)])
    return header, rows


def _facts(some: Sequence[Record], records, known: bool) -> list[Any]:
    """Largest gap, sizes, how often it is the best, and evaluations of a finder."""
    ranked = _ranked(some)
    largest = max((r["largest_gap"] for r in ranked), default=None)
    best = sum(r["optimal_sizes"] for r in ranked)
    inner = len(ranked) * (of(records, "circuit")[0]["nodes"] - 1)
    reached = 0
    for r in some:
        (circuit,) = of(records, "circuit", seed=r["seed"], ablation=r["ablation"])
        reached += r["size"] == circuit["size"]
    facts = [
        None if largest is None else f"{largest:.3f}",
        f"{reached} of {len(some)}",
        f"{best} of {inner}" if ranked else None,
        round(mean(some, "evaluations")),
    ]
    if known:
        told = [r["recovered"] for r in some if "recovered" in r]
        facts.append(f"{sum(told)} of {len(told)}" if told else None)
    return facts


def _gap(some: Sequence[Record]) -> str | None:
    """The mean gap over sizes and seeds; of learned masks with the median run's."""
    ranked = _ranked(some)
    if not ranked:
        return None
    text = f"{mean(ranked, 'mean_gap'):.4f}"
    if "median_gap" in ranked[0]:
        text += f" ({mean(ranked, 'median_gap'):.4f})"
    return text


def _ranked(records: Sequence[Record]) -> list[Record]:
    """Records of finders that give sets of every size."""
    return [r for r in records if r["part"] == "finder" and "mean_gap" in r]
