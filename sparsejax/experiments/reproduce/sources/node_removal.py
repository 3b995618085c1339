"""Hobson, Section 1: a circle classifier under node removal."""

from collections.abc import Callable

import numpy as np

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Hobson, “Exploring toy neural nets under node removal” (Section 1)"
_CODE, _TEXT = "circle", "circle_half"
_FAR = 0.2  # a correlation below it counts as decayed
_PDF, _FLIPS = "Probability density functions of loss", "How much does N flips matter"
_LOG, _GRADIENTS = "Probability density functions of log loss", "Gradients of the loss"
# Table, its name there, and what is published at 0.25, 0.5 and 0.75.
_TABLES = (
    (_PDF, "mean loss", "mean_loss", (1.0277158, 0.87821335, 0.584365)),
    (_LOG, "mean of log loss", "mean_log_loss",
     (-0.08020699, -0.28468585, -0.7286095)),
    (_LOG, "sd of log loss", "sd_log_loss",
     (0.44782004, 0.5544732, 0.6133959)),
    (_GRADIENTS, "mean loss gradient", "mean_loss_gradient",
     (-0.0693278, -0.04751453, -0.027095174)),
    (_GRADIENTS, "sd of loss gradient", "sd_loss_gradient",
     (0.36804602, 0.33512998, 0.26713666)),
    (_GRADIENTS, "mean log-loss gradient", "mean_log_loss_gradient",
     (-0.0746937, -0.05837615, -0.046731997)),
    (_GRADIENTS, "sd of log-loss gradient", "sd_log_loss_gradient",
     (0.36064485, 0.38386792, 0.44563505)),
)  # fmt: skip
_STATES = (
    ("on", "mean", 0.055790696), ("on", "sd", 0.35940725),
    ("off", "mean", -0.17263436), ("off", "sd", 0.37343097),
)  # fmt: skip
_HALF = "The tables are of the code's circle, in the row above."
_LOSES = "The source's one network loses more than ours on average when nodes go."
_SPREAD = "The source's one network varies more than ours on average, in all sds."


def _sampled(part: str, *path: str) -> Values:
    """Numbers of the tables as sampled, a network each."""
    first, second = path
    return lambda results: [r["sampled"][first][second]
                            for r in results.records(part)]  # fmt: skip


def _pair(name, where, what, number, *path) -> list[Claim]:
    """The same number for the circle of the code, 62.67% of the square, and for that
    of the text, half of it."""
    published = f"{number:.4f}"
    lost = "mean_loss", "mean_log_loss", "mean_loss_gradient"
    said = _LOSES if path[-1] in lost else ""
    said = _SPREAD if path[-1].startswith("sd") else said
    return [
        Claim(name, where, what, published, (_CODE,), _sampled(_CODE, *path), number,
              said=said),
        Claim(f"{name}, text's circle", where, f"{what}, circle of the text",
              published, (_TEXT,), _sampled(_TEXT, *path), number, said=_HALF,
              aside=True),
    ]  # fmt: skip


def _full(results: Results) -> list[float]:
    return [r["full_loss"] for r in results.records(_CODE)]


def _mask(name: str) -> Values:
    return lambda results: [results.records("rules")[0][name]]


def _least_missed(results: Results) -> list[float]:
    """Rise of the loss when the node that is missed least is removed."""
    rises = []
    for record in results.records(_CODE):
        losses = results.arrays(_CODE, f"seed_{record['seed']:02d}")["losses"]
        full, n = len(losses) - 1, len(losses).bit_length() - 1
        least = min(losses[full & ~(1 << i)] for i in range(n))
        rises.append(float(least - losses[full]))
    return rises


def _ordered(results: Results) -> list[bool]:
    tables = [r["exact"] for r in results.records(_CODE)]
    means = [[t[p]["mean_loss"] for p in ("0.25", "0.5", "0.75")] for t in tables]
    return [low > middle > high for low, middle, high in means]


def _skewed(results: Results) -> list[bool]:
    return [
        r["sampled"][p]["skew_loss"] > 0
        for r in results.records(_CODE) for p in ("0.25", "0.5", "0.75")
    ]  # fmt: skip


def _distance(results: Results) -> list[float]:
    return [
        max(r["sampled"][p]["distance"] for p in ("0.25", "0.5", "0.75"))
        for r in results.records(_CODE)
    ]


def _between(results: Results) -> list[float]:
    """Mean loss at 0.75 less that at 0.25."""
    high, low = (_sampled(_CODE, p, "mean_loss")(results) for p in ("0.75", "0.25"))
    return [a - b for a, b in zip(high, low, strict=True)]


def _sanity(results: Results) -> list[float]:
    gradients = _sampled(_CODE, "0.5", "mean_loss_gradient")(results)
    return [10 * g / d for g, d in zip(gradients, _between(results), strict=True)]


def _decayed(results: Results) -> list[float]:
    """Flips after which networks are hardly correlated any more."""
    paths = [np.asarray(r["path"]["exact"]) for r in results.records(_CODE)]
    return [float(np.flatnonzero(path < _FAR)[0]) for path in paths]


def _whole(part: str) -> Callable[[Results], float]:
    """Mean correlation of networks with their reverse."""
    return lambda results: float(
        np.mean([r["path"]["exact"][-1] for r in results.records(part)])
    )


def _reversed(part: str) -> Values:
    return lambda results: [r["path"]["exact"][-1] > 0 for r in results.records(part)]


def _trough(results: Results) -> list[bool]:
    """Whether the density at 0 lies below both sides; the first network's is kept."""
    record = results.records(_CODE)[0]
    arrays = results.arrays(_CODE, f"seed_{record['seed']:02d}")
    at = arrays["log_loss_gradient/at"]
    rows = arrays["log_loss_gradient/exact"]

    def near(row, place):
        return row[np.abs(at - place).argmin()]

    sides = [(near(row, -0.15), near(row, 0.15)) for row in rows]
    return [bool(near(row, 0) < min(both)) for row, both in zip(rows, sides)]


def _drawn(**files: str) -> dict[str, str]:
    return {name.replace("_", " "): f"{_CODE}/fig_{file}.svg"
            for name, file in files.items()}  # fmt: skip


CLAIMS = [
    Claim(
        "full loss", _PDF, "loss with all nodes", "0.117", (_CODE,), _full, 0.117,
    ),
    *(
        claim
        for where, what, name, numbers in _TABLES
        for p, number in zip(("0.25", "0.5", "0.75"), numbers, strict=True)
        for claim in _pair(f"{what} at {p}", where, f"{what}, {p} of the nodes",
                           number, p, name)
    ),
    *(
        claim
        for state, name, number in _STATES
        for claim in _pair(
            f"{name}, node {state}", "Is that node on",
            f"{name} of log-loss gradient, node {state}", number, state, name,
        )
    ),
    Claim(
        "distinct masks", _PDF, "distinct masks of 1,000 at 0.75", "952", ("rules",),
        _mask("distinct"), 952, shown="{:.0f}",
        said="The source's masks are NumPy's stream of seed 17, here to the last bit.",
    ),
    Claim(
        "full masks", _PDF, "masks of all nodes at 0.75", "5", ("rules",),
        _mask("all_on"), 5, shown="{:.0f}",
    ),
    Claim(
        "masks without node 14", _PDF, "masks without node 14 alone at 0.75", "3",
        ("rules",), _mask("only_14"), 3, shown="{:.0f}",
    ),
    Claim(
        "full masks expected", _PDF, "masks of all nodes to be expected", "3.17",
        (), lambda results: [1000 * 0.75**20], 3.17, shown="{:.2f}",
    ),
    Claim(
        "node 14", _PDF, "one node is hardly missed: rise of the loss without it",
        "0.002, “barely noticeable”", (_CODE,), _least_missed, (-1.0, 0.005),
        said="Of the node that is missed least; at most 0.005 counts as barely "
        "noticeable, and in most of our networks every node is missed more.",
    ),
    Claim(
        "order of losses", _PDF, "the more nodes are missing, the higher the loss",
        "text", (_CODE,), _ordered,
        figures=_drawn(density="loss"),
    ),
    Claim(
        "skew", _PDF, "losses are skewed to the right", "text", (_CODE,), _skewed,
        said="Every network at each of the three shares of nodes.",
    ),
    Claim(
        "log-normal", _LOG, "losses are nearly log-normal: largest distance "
        "(Kolmogorov-Smirnov)", "“reasonably good”", (_CODE,), _distance, (0.0, 0.1),
        shown="{:.3f}",
        said="The largest of the three shares of nodes; at most 0.1 counts as good.",
        figures=_drawn(density="log_loss"),
    ),
    Claim(
        "gradient figure", _GRADIENTS, "densities of loss gradients", "figure",
        (_CODE,), figures=_drawn(of_loss="loss_gradient",
                                 of_log_loss="log_loss_gradient"),
    ),
    Claim(
        "difference of means", _GRADIENTS, "mean loss at 0.75 less that at 0.25",
        "-0.4434", (_CODE,), _between, -0.4433508,
        said=_LOSES,
    ),
    Claim(
        "sanity check", _GRADIENTS, "ten times the mean loss gradient at 0.5, over "
        "that difference", "-0.4751 / -0.4434 = 1.0717", (_CODE,), _sanity,
        -0.4751453 / -0.4433508,
        said="That the two are near is luck: the mean's derivative is made of "
        "differences, not of gradients.",
    ),
    Claim(
        "trough", _GRADIENTS, "densities of log-loss gradients have a trough at 0",
        "figure", (_CODE,), _trough,
        said="At the three shares of nodes, exact densities of the first network.",
    ),
    Claim(
        "by state", "Is that node on", "densities by state and by node", "figure",
        (_CODE,), figures=_drawn(by_state="by_state", by_node="by_node"),
    ),
    Claim(
        "flips", _FLIPS, "flips until correlations decay", "“around 5 or 6”", (_CODE,),
        _decayed, (5.0, 6.0), printed=True, shown="{:.1f}",
        said="Below 0.2 counts as decayed.",
        figures=_drawn(paths="path", cube="cube"),
    ),
    Claim(
        "reversal", _FLIPS, "a network and its reverse correlate", "“surprising”",
        (_CODE,), _reversed(_CODE),
    ),
    Claim(
        "reversal strength, text's circle", _FLIPS,
        "it is at least half as strong for the circle of the text", "“significant”",
        (_CODE, _TEXT),
        lambda results: [_whole(_TEXT)(results) / _whole(_CODE)(results)],
        (0.5, 100.0), shown="{:.2f} of the code's",
        said="Much of the surprise is owed to the radius that the code has in place "
        "of the text's.",
        aside=True,
    ),
    Claim(
        "heat maps", "Heatmap of gradient", "gradients of the loss over the square, "
        "node by node", "figure", (_CODE,), figures=_drawn(nodes="maps"),
    ),
    Claim(
        "bias nodes", "Heatmap of gradient", "nodes that act as a bias",
        "0, 9, 10, 19", unchecked="The network was not published.",
    ),
    Claim(
        "loss map", "Heatmap of gradient", "most of the loss lies around the circle",
        "figure", (_CODE,), figures=_drawn(loss="loss_map"),
    ),
    Claim(
        "interactive", "Video of interactive heatmap", "decision surfaces with nodes "
        "off", "video", (_CODE,), figures={"page": f"{_CODE}/nodes.html"},
    ),
]  # fmt: skip
