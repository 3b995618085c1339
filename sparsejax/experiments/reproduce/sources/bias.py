"""Hobson: "Visualizing Neural networks, how to blame the bias"."""

from collections.abc import Mapping
from typing import Any

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Hobson, “Visualizing Neural networks, how to blame the bias”"
_MATRIX, _SIMPLER = "Matrix multiplication", "Simplifying the LRP"
_RELEVANCE = ("relevance_0", "relevance_1")


def _asked(name: str) -> Values:
    return lambda results: results.records("rules")[0][name]


def _share(which: str) -> Values:
    """Size of what biases contribute over that of the logit, a network each."""

    def get(results):
        return [
            record["bias_share"]
            for part in _RELEVANCE
            for record in results.records(f"{part}_{which}")
            if record["method"] == "blame_the_bias"
        ]

    return get


def _nothing_lost(results: Results) -> list[bool]:
    rows = [
        record
        for part in _RELEVANCE for which in ("dense", "pruned")
        for record in results.records(f"{part}_{which}")
        if record["method"] == "blame_the_bias"
    ]  # fmt: skip
    return [row["residual"] < 1e-5 for row in rows]


def _by_loss(results: Results, loss: str) -> list[Mapping[str, Any]]:
    rows = [r for r in results.records("right_reasons") if r["loss"] == loss]
    return [r for r in rows if r["strength"] in (0.0, 1.0)]


def _gamed(results: Results) -> list[bool]:
    """Whether relevance is where it should be, and the background still decides."""
    oracle = [r["test_accuracy"]["swapped"] for r in _by_loss(results, "oracle")]
    least = min(oracle) - 0.1
    return [
        r["outside"]["same"] < 0.1 and r["test_accuracy"]["swapped"] < least
        for r in _by_loss(results, "share")
    ]


def _not_gamed(results: Results) -> list[bool]:
    oracle = [r["test_accuracy"]["swapped"] for r in _by_loss(results, "oracle")]
    return [
        r["test_accuracy"]["swapped"] >= min(oracle) - 0.1
        for r in _by_loss(results, "squared")
    ]


def _formula(name, where, what, printed, said) -> list[Claim]:
    """A formula as it is printed, and as it must be."""
    return [
        Claim(f"{name}, printed", where, f"{what}: the formula as printed", printed,
              ("rules",), _asked(f"{name}_printed"), said=said),
        Claim(f"{name}, corrected", where, f"{what}: the formula as corrected",
              "text", ("rules",), _asked(f"{name}_corrected"), aside=True),
    ]  # fmt: skip


CLAIMS = [
    Claim(
        "scaling", "Scaling equivalence", "four pairs of rules scale alike as a matrix "
        "and as a nonlinearity", "table", ("rules",), _asked("scaling"),
        said="Of each of the table's four pairs.",
    ),
    Claim(
        "scaling, others", "Consistency rules", "the other four pairs do not",
        "“You can't just pick any”", ("rules",),
        lambda results: [not x for x in _asked("scaling_others")(results)],
    ),
    *_formula(
        "slope", "Slope", "the slope rule conserves", "R(a) = R(b) / b",
        "It must be R(a) = (b / a) R(b), in multipliers Q(a) = (f(a) / a) Q(b).",
    ),
    *_formula(
        "matrix", "Rephrasing matrix multiplication", "shares of a sum conserve",
        "a_i w_ij / Σ_j w_ij", "The denominator must be the output b_j.",
    ),
    *_formula(
        "baseline", "Solution 2", "the baseline rule is symmetric in the two images",
        "(b - b̄) / b̄", "It must be (b - b̄) / (a - ā), of multipliers.",
    ),
    *_formula(
        "softmax", "Solution 2", "the soft maximum nears the maximum",
        "exp(1/ε Σ log exp x_i)", "It must be ε log Σ exp(x_i / ε).",
    ),
    Claim(
        "conserves", _SIMPLER, "LRP conserves relevance, without biases", "text",
        ("rules",), _asked("conserves"), said="Tanh networks, ten random ones.",
    ),
    Claim(
        "slope is gradient", _SIMPLER, "slope and gradient are one method for relus",
        "text", ("rules",), _asked("slope_is_gradient"),
    ),
    Claim(
        "slope is gradient, tanh", _SIMPLER, "and differ for tanh", "",
        ("rules",),
        lambda results: [not x for x in _asked("slope_is_gradient_tanh")(results)],
        said="A control of ours.", aside=True,
    ),
    Claim(
        "radial is slope", "Scaling equivalence",
        "the radial maximum of two matches the slope rule", "“I suspect”", ("rules",),
        _asked("radial_is_slope"),
        said="Where the value is positive it does; where both are negative the slope "
        "gives it all, radial a share.",
    ),
    Claim(
        "nesting", "Scaling equivalence", "max(a, c) and max(a, c, c) split credit "
        "differently", "text", ("rules",), _asked("nesting"),
    ),
    Claim(
        "two maxima", "Solution 2", "soft maximum and a + relu(b - a) give different "
        "relevance", "text", ("rules",), _asked("two_maxima_differ"),
        said="Random pairs against random baselines; where both images have the same "
        "winner the two agree.",
    ),
    Claim(
        "unstable", "What the actual problem was",
        "without biases, shares of a small sum blow up", "text", ("rules",),
        _asked("unstable"), said="As 1 / gap; with the bias in the sum they do not.",
    ),
    Claim(
        "biases included", "Solution 1", "with biases, nothing is lost", "text",
        ("rules",), _asked("with_biases"),
    ),
    Claim(
        "biases included, MNIST", "Solution 1", "nor in MNIST networks", "text",
        tuple(f"{part}_{w}" for part in _RELEVANCE for w in ("dense", "pruned")),
        _nothing_lost,
        said="The same at full size; to 1e-5 of all magnitudes, float32.",
        aside=True,
    ),
    Claim(
        "bias share, pruned", "What the actual problem was",
        "answers that are mostly biases: size of all biases' relevance over the "
        "logit's, 2% of the weights", "“sometimes almost entirely”",
        tuple(f"{part}_pruned" for part in _RELEVANCE), _share("pruned"), (0.5, 1.0),
        shown="{:.0%}",
        said="Half and more counts as mostly; median over 200 test images.",
        figures={"biases": "relevance_0_pruned/fig_biases.svg",
                 "maps": "relevance_0_pruned/fig_maps.svg"},
    ),
    Claim(
        "bias share, dense", "What the actual problem was",
        "the same with all weights", "“sometimes almost entirely”",
        tuple(f"{part}_dense" for part in _RELEVANCE), _share("dense"), (0.5, 1.0),
        shown="{:.0%}",
        said="Of networks with all their weights biases explain little.",
        aside=True,
    ),
    Claim(
        "goodhart", "What I was hoping for", "a loss on where relevance lies is gamed",
        "“rampantly goodhearting”", ("right_reasons",), _gamed,
        said="Its share outside falls below 10%, and with swapped backgrounds "
        "accuracy is at least 10 points below that of training on shuffled ones.",
        figures={"scores": "right_reasons/fig_scores.svg",
                 "maps": "right_reasons/fig_maps.svg"},
    ),
    Claim(
        "goodhart, squared", "What I was hoping for",
        "a loss that is not: squares of relevance for all centered logits",
        "“I haven't got this to work”", ("right_reasons",), _not_gamed,
        said="Ours; it works on digits at a fixed place, not where they move.",
        aside=True,
    ),
    Claim(
        "notebook", "Running code", "a notebook and its model", "link",
        unchecked="The notebook and its model are not in the document.",
    ),
]  # fmt: skip
