"""What a source claims, and in one word whether it is found again.

A number is compared with the values of all networks (of one where there is one). Their
spread is their range, and two standard deviations to each side of their mean:

    agrees      the mean is within a hundredth of the published value, or within a tenth
                and the published value within the spread
    compatible  the published value is within the spread, but the mean is further away:
                networks vary too much to tell more
    better      it is outside, and ours is better where one side is (higher accuracy)
    near        it is outside, and the mean is within a tenth of the published value
    differs     anything else

A statement is asked of every network, and so is a bound, of the source or of ours where
the source has words or a picture:

    holds     true of all; "fails" of none, "partly" of some

"shown" is a figure that is drawn, "missing" what needs data that are not there, "not
run" what the chosen parts leave out, "unknown" what cannot be told from this run, and
"not checked" what cannot be checked at all, with the reason.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsejax import runs

WORDS = ("agrees", "holds", "compatible", "near", "better", "differs", "partly",
         "fails", "shown", "missing", "not run", "unknown", "not checked")  # fmt: skip
_NEAR, _SAME = 0.1, 0.01  # of the published value


class Results(NamedTuple):
    """What the parts of a run have left.

    Attributes:
        folder: the run's, with a folder for each part.
        measured: rows of the parts that this experiment measures itself.
        missing: why parts could not be run.
    """

    folder: Path
    measured: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    missing: Mapping[str, str] = {}

    def there(self, part: str) -> bool:
        """Whether a part has been run."""
        return part in self.measured or (self.folder / part / "config.json").exists()

    def records(self, part: str) -> Sequence[Mapping[str, Any]]:
        """Records of a part."""
        if part in self.measured:
            return self.measured[part]
        return runs.read_metrics(self.folder / part)

    def arrays(self, part: str, name: str) -> dict[str, np.ndarray]:
        """Arrays of one file of a part."""
        return runs.read_arrays(self.folder / part / f"{name}.npz")


Values = Callable[[Results], Sequence[float | bool]]


class Claim(NamedTuple):
    """A number, a statement or a figure of a source.

    Attributes:
        name: a short name, unlike any other's.
        where: section of the source.
        what: what it is.
        published: as it is published.
        parts: what must have been run.
        values: ours, one for each network; booleans of a statement.
        value: the published number, or the lowest and the highest that every network
            may have; None of statements.
        shown: format of one of ours.
        said: on a difference, or on what ours is; one sentence.
        higher: whether higher is better.
        figures: files below the run's folder, by what they show.
        unchecked: why it cannot be checked.
        aside: whether it is a control, a correction, a variant or a setting of ours,
            which says nothing of how much of a source is found again.
        printed: whether the source has the bounds; else they are ours.
    """

    name: str
    where: str
    what: str
    published: str
    parts: tuple[str, ...] = ()
    values: Values | None = None
    value: float | int | tuple[float, float] | None = None
    shown: str = "{:.4f}"
    said: str = ""
    higher: bool = False
    figures: Mapping[str, str] = {}
    unchecked: str = ""
    aside: bool = False
    printed: bool = False

    @property
    def bound_is_ours(self) -> bool:
        """Whether it is judged by a bound that the source does not have."""
        return isinstance(self.value, tuple) and not self.printed


class Answer(NamedTuple):
    """What a run says of a claim.

    Attributes:
        word: one of `WORDS`.
        ours: values of all networks.
        text: their mean and spread, as it is shown.
        said: the sentence.
        figures: those of the claim's files that are there.
    """

    word: str
    ours: tuple[float, ...]
    text: str
    said: str
    figures: dict[str, str]


def answer(claim: Claim, results: Results) -> Answer:
    """What a run says of a claim; see the module's text for the words."""
    if claim.unchecked:
        return Answer("not checked", (), "", claim.unchecked, {})
    for part in claim.parts:
        if part in results.missing:
            return Answer("missing", (), "", results.missing[part], {})
    lacking = [part for part in claim.parts if not results.there(part)]
    if lacking:
        return Answer("not run", (), "", f"Needs `--parts={','.join(lacking)}`.", {})
    figures = {
        label: path
        for label, path in claim.figures.items()
        if (results.folder / path).exists()
    }
    if claim.values is None:
        word = "shown" if figures else "unknown"
        return Answer(word, (), "", claim.said, figures)
    ours = tuple(map(float, claim.values(results)))
    if not ours or not all(map(math.isfinite, ours)):
        return Answer("unknown", (), "", claim.said, figures)
    if claim.value is None:
        true = list(map(bool, ours))
        text = f"{sum(true)} of {len(true)}"
        return Answer(_truth(true), ours, text, claim.said, figures)
    if isinstance(claim.value, tuple):
        low, high = claim.value
        true = [low <= value <= high for value in ours]
        text = told(ours, claim.shown, f"{sum(true)} of {len(true)}")
        return Answer(_truth(true), ours, text, claim.said, figures)
    word = agreement(claim.value, ours, higher=claim.higher)
    return Answer(word, ours, told(ours, claim.shown), claim.said, figures)


def agreement(
    published: float | int, ours: Sequence[float | int], *, higher: bool = False
) -> str:
    """One word on a number, as the module's text defines it.

    Example:
        >>> agreement(963, [955, 986]), agreement(0.1, [0.05, 0.09])
        ('agrees', 'compatible')
        >>> agreement(0.905, [0.946, 0.954], higher=True), agreement(0.8, [0.54, 0.6])
        ('better', 'differs')
    """
    mean = float(np.mean(ours))
    away = 2 * float(np.std(ours, ddof=1)) if len(ours) > 1 else 0.0
    possible = min([*ours, mean - away]) <= published <= max([*ours, mean + away])
    gap = abs(mean - published)
    near = gap <= _NEAR * abs(published)
    if gap <= _SAME * abs(published) or (possible and near):
        return "agrees"
    if possible:
        return "compatible"
    if higher and mean > published:
        return "better"
    return "near" if near else "differs"


def told(ours: Sequence[float | int], shown: str, number: str = "") -> str:
    """Mean, deviation over networks and their number, or another `number`.

    Example:
        >>> told([0.5, 0.25], "{:.2f}"), told([3.0], "{:.0f}")
        ('0.38 ± 0.18 (2)', '3 (1)')
    """
    mean, number = shown.format(float(np.mean(ours))), number or str(len(ours))
    if len(ours) < 2 or len(set(ours)) == 1:
        return f"{mean} ({number})"
    return f"{mean} ± {shown.format(float(np.std(ours, ddof=1)))} ({number})"


def _truth(ours: Sequence[bool]) -> str:
    if all(ours):
        return "holds"
    return "partly" if any(ours) else "fails"
