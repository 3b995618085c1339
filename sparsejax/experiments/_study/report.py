"""What a run leaves to look at: figures, tables and the page."""

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from sparsejax import pages, plots, runs
from sparsejax.experiments._study.run import Study
from sparsejax.pages import Html


def figures(study: Study, drawn: Mapping[str, tuple[Any, str]]) -> dict[str, Html]:
    """Figures as `fig_NAME.svg`, and as elements of a page.

    Args:
        study: whose folder they go to.
        drawn: a figure and its caption by name.
    """
    return {
        name: figure(study, name, drawing, caption)
        for name, (drawing, caption) in drawn.items()
    }


def figure(study: Study, name: str, drawing: Any, caption: str) -> Html:
    """One figure as `fig_NAME.svg`, and as an element of a page."""
    path = study.folder / f"fig_{runs.file_name(name)}.svg"
    plots.save(drawing, path)
    return pages.figure_svg(path.read_bytes(), caption, caption)


def table(
    study: Study,
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
) -> Html:
    """A table as `table.md`, and as an element of a page."""
    runs.write_text(study.folder / "table.md", markdown(header, rows))
    return pages.table(rows, header, caption=caption)


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; `None` is an empty cell.

    Example:
        >>> print(markdown(["level", "left"], [[0, "100%"], [1, None]]))
        | level | left |
        | --- | --- |
        | 0 | 100% |
        | 1 |  |
        <BLANKLINE>
    """

    def text(cell):
        return "" if cell is None else str(cell).replace("|", "\\|")

    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(text, line))} |\n" for line in lines)


def settings(config: Any) -> Html:
    """A table of the fields of a config."""
    rows = [(field.name.replace("_", " "), _told(getattr(config, field.name)))
            for field in dataclasses.fields(config)]  # fmt: skip
    return pages.table(rows, ("", "value"))


def page(study: Study, title: str, *sections: str, **options: Any) -> None:
    """The page of a run, `index.html`; options as of `pages.page`."""
    html = pages.page(title, *sections, **options)
    runs.write_text(study.folder / "index.html", html)


def resource(module: str, name: str) -> str:
    """A script or style of a page, from `page/` beside a module.

    Args:
        module: `__name__` of a module of the experiment.
        name: of the file.
    """
    files = resources.files(module.rpartition(".")[0])
    return files.joinpath("page", name).read_text("utf-8")


def _told(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else value
