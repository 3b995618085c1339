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
_FOUND = ("agrees", "better", "near", "holds")
_LOST = ("differs", "partly", "fails")
_RULE = (
    "A number agrees where the published value lies within the range of our networks, "
    "within two standard deviations of their mean, or within 1% of itself from it; is "
    "better where it does not, and ours is the better; near where the mean is within "
    "10%; else it differs. A statement holds of all networks, of some (partly), or of "
    "none (fails); its numbers count those of which it is true. Rows in italics are "
    "controls, corrections and variants of ours, and not counted."
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
                "aside": claim.aside,
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
    number = counts(records)
    found, lost = (sum(number.get(w, 0) for w in words) for words in (_FOUND, _LOST))
    rest = [f"{number[word]} {word}" for word in WORDS
            if word in number and word not in _FOUND + _LOST]  # fmt: skip
    text = f"{found} of {found + lost} published numbers and statements are found again"
    parts = [f"{number[word]} {word}" for word in _FOUND + _LOST if word in number]
    return f"{text} ({', '.join(parts)})" + (f"; {', '.join(rest)}" if rest else "")


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
