"""The tables of claims: in Markdown, as JSON, and as a page with links to figures."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparsejax import pages, runs
from sparsejax.experiments._study import report
from sparsejax.experiments._study.records import group
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.reproduce.claim import WORDS, Results, answer
from sparsejax.experiments.reproduce.config import Config
from sparsejax.experiments.reproduce.sources import SOURCES
from sparsejax.pages import Html

Records = Sequence[Mapping[str, Any]]
_HEADER = ("section", "what", "published", "ours: mean ± sd (networks)", "", "remark")
_FOUND = ("agrees", "holds")
_LOST = ("compatible", "near", "better", "differs", "partly", "fails")
_RULE = (
    "Found again is what agrees or holds. The spread of our networks is their range, "
    "and two standard deviations to each side of their mean. A number agrees where "
    "the mean is within 1% of it, or within 10% and the number in the spread. It is "
    "compatible where it is in the spread and the mean further away: the networks "
    "vary too much to tell more. It is better where it is outside and ours is the "
    "better, near where it is outside and the mean within 10%; else it differs. A "
    "statement or a bound holds of all networks, of some (partly), or of none "
    "(fails), and its numbers count those of which it is true. A bound is ours where "
    "the source has words or a picture. Rows in italics are controls, corrections, "
    "variants and settings of ours, and not counted."
)


def write(study: Study, results: Results) -> None:
    """Add the claims to the records; write the tables and the page.

    Args:
        study: the run.
        results: what its parts have left.
    """
    records = claims(results)
    study.add(records)
    runs.write_json(study.folder / "reproductions.json", records)
    how = " ".join(["sparsejax reproduce", *_flags(study.config), "--data_dir=DIR"])
    runs.write_text(study.folder / "reproductions.md", markdown(records, how))
    sections = [
        pages.section(title, pages.table(map(_cells, rows), _HEADER))
        for title, rows in group(records, "source").items()
    ]
    report.page(
        study,
        "Published and reproduced",
        pages.facts([(word, count) for word, count in counts(records).items()]),
        *sections,
        lead=finding(records),
        footer=f"Made by sparsejax. {_RULE}",
    )


def claims(results: Results) -> list[dict[str, Any]]:
    """A record for each claim of the sources."""
    records = []
    for title, table in SOURCES.items():
        for claim in table:
            found = answer(claim, results)
            records.append({
                "kind": "claim", "source": title, "name": claim.name,
                "where": claim.where, "what": claim.what,
                "published": claim.published, "ours": list(found.ours),
                "text": found.text, "word": found.word, "said": found.said,
                "aside": claim.aside, "bound_is_ours": claim.bound_is_ours,
                "figures": found.figures,
            })  # fmt: skip
    return records


def markdown(records: Iterable[Mapping[str, Any]], command: str) -> str:
    """The whole of `reproductions.md`: a table for each source."""
    records, tables = list(records), []
    for title, rows in group(records, "source").items():
        body = [
            [r["where"], f"*{r['what']}*" if r["aside"] else r["what"], r["published"],
             r["text"] or ", ".join(r["figures"]), f"**{r['word']}**", r["said"]]
            for r in rows
        ]  # fmt: skip
        tables.append(f"## {title}\n\n{report.markdown(_HEADER, body)}")
    made = (
        "Every number, statement and figure of the five source documents that can be "
        "made, beside ours, by"
    )
    first, *more = map(_wrapped, (made, f"{finding(records)}.", _RULE))
    head = "\n\n".join(
        ["# Published and reproduced", first, f"    {command}", *more, ""]
    )
    return "\n".join([head, *tables])


def counts(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many claims of the sources have each word, in the order of `WORDS`."""
    number = Counter(
        r["word"] for r in records if r["kind"] == "claim" and not r["aside"]
    )
    return {word: number[word] for word in WORDS if number[word]}


def finding(records: Iterable[Mapping[str, Any]]) -> str:
    """One sentence: how much is found again."""
    records = list(records)
    number = counts(records)
    bounds = sum(
        r["bound_is_ours"] and r["word"] in _FOUND
        for r in records if r["kind"] == "claim" and not r["aside"]
    )  # fmt: skip
    found, lost = (sum(number.get(w, 0) for w in words) for words in (_FOUND, _LOST))
    rest = [f"{number[word]} {word}" for word in WORDS
            if word in number and word not in _FOUND + _LOST]  # fmt: skip
    text = f"{found} of {found + lost} published numbers and statements are found again"
    parts = [f"{number[word]} {word}" for word in _FOUND + _LOST if word in number]
    text = f"{text} ({', '.join(parts)})"
    if bounds:
        text += f", {bounds} of the {found} by a bound of ours"
    return text + (f"; {', '.join(rest)}" if rest else "")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 88, break_on_hyphens=False)


def _flags(config: Config) -> list[str]:
    parts = [f"--parts={','.join(config.parts)}"] if config.parts else []
    return ["--quick", *parts] if config.quick else parts


def _cells(record: Mapping[str, Any]) -> list[Any]:
    links = [
        pages.tag("a", name, href=path) for name, path in record["figures"].items()
    ]
    parts: list[Any] = [record["said"]] if record["said"] else []
    for i, link in enumerate(links):
        parts += [" " if parts and not i else ", " if i else "", link]
    cell: str | Html = pages.join(*parts)
    what = pages.tag("em", record["what"]) if record["aside"] else record["what"]
    return [record["where"], what, record["published"], record["text"],
            record["word"], cell]  # fmt: skip
