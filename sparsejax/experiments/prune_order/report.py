"""The figures, tables and page of a run on the order of training and pruning."""

from sparsejax import pages, runs
from sparsejax.experiments._study import report
from sparsejax.experiments._study.records import column
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.prune_order import config as config_
from sparsejax.experiments.prune_order import figures, measure, surfaces
from sparsejax.experiments.prune_order.config import LABELS, ORDERS, SHORT, Config
from sparsejax.experiments.prune_order.measure import Arrays, Records
from sparsejax.experiments.prune_order.train import Task
from sparsejax.pages import counted


def write(study: Study, task: Task, arrays: Arrays) -> None:
    """Write `fig_*.svg`, `training.gif` (spiral), `table.md` and `index.html`.

    Args:
        study: the run.
        task: data and model.
        arrays: those of every stage, by rate and selection (None: whole networks).
    """
    config, records = study.config, study.records
    drawn = report.figures(study, figures.figures(config, task, records, arrays))
    film = []
    if config_.frames(config):
        path = study.folder / "training.gif"
        caption = surfaces.animation(path, config, task, arrays)
        film = [_film(path.read_bytes(), caption)]
    header, *rows = table(records)
    more, *shares = share_table(records)
    text = report.markdown(header, rows) + "\n" + report.markdown(more, shares)
    runs.write_text(study.folder / "table.md", text)

    def pick(prefix):
        return [v for k, v in drawn.items() if k.startswith(prefix)]

    planes = [*pick("surfaces"), *film]
    report.page(
        study,
        f"Train first or prune first: {config.dataset}, {config.remove}",
        pages.facts(_facts(records)),
        pages.section("Accuracy", drawn["accuracy"], pages.table(rows, header)),
        *([pages.section("Decision surfaces", *planes)] if planes else []),
        pages.section("One kernel after both orders", *pick("kernels")),
        pages.section(
            "Which weights training moves",
            *(drawn[name] for name in ("moves", "shares", "units")),
        ),
        pages.section(
            "Do both orders find the same?",
            *pick("correlation"),
            pages.table(shares, more),
        ),
        lead=finding(records),
        footer=_footer(config, records),
    )


def finding(records: Records) -> str:
    """One sentence: accuracies of both orders, at the first learning rate."""
    groups = measure.grouped(records)
    rate, _ = next(iter(groups))

    def mean(group, order):
        return f"{measure.mean(group, 'test_accuracy', order):.1%}"

    parts = [
        f"{SHORT[selection]} {mean(group, 'train_prune')} and "
        f"{mean(group, 'prune_train')}"
        for selection, group in measure.at_rate(groups, rate).items()
    ]
    return (
        f"Learning rate {rate}: accuracy trained then pruned, and pruned then "
        f"trained: {'; '.join(parts)}"
    )


def table(records: Records) -> list[list[str]]:
    """Rows of test accuracies by learning rate and selection: mean ± sd (lowest)."""
    rows = [["learning rate", "removed", *(LABELS[order] for order in ORDERS)]]
    for (rate, selection), group in measure.grouped(records).items():
        cells = [_spread(column(group, "test_accuracy", order)) for order in ORDERS]
        rows.append([f"{rate}", SHORT[selection], *cells])
    return rows


def share_table(records: Records) -> list[list[str]]:
    """Rows of correlations (mean, 95% interval over networks) and mean shares."""
    rows = [["learning rate", "removed", "correlation of weights", "of updates",
             "never updated: trained / prune, train / both",
             "coasting: trained / prune, train",
             "constant units by layer"]]  # fmt: skip
    for (rate, selection), group in measure.grouped(records).items():

        def several(name, group=group):
            return " / ".join(
                f"{column(group, name, key).mean():.1%}" for key in group[0][name]
            )

        rows.append(
            [
                f"{rate}",
                SHORT[selection],
                *(
                    _correlation(group, name)
                    for name in ("correlation", "correlation_of_updates")
                ),
                *map(several, ("never_updated", "coasting", "constant_units")),
            ]
        )
    return rows


def _correlation(group, name) -> str:
    found = [record[name][0] for record in group if record[name]]
    if not found:
        return "undefined"
    mean, low, high = measure.estimate(found)
    if len(found) == 1:
        return f"{mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _spread(found) -> str:
    if len(found) == 1:
        return f"{found[0]:.1%}"
    return f"{found.mean():.1%} ± {100 * found.std(ddof=1):.1f} (min {found.min():.1%})"


def _facts(records) -> list[tuple[str, str, str]]:
    groups = measure.grouped(records)
    (rate, first_selection), first = next(iter(groups.items()))

    def mean(*path, group=first):
        return f"{column(group, *path).mean():.1%}"

    who = f"mean of {len(first)}" if len(first) > 1 else "one network"
    low = f"{who}, learning rate {rate}"
    facts = [("trained", mean("test_accuracy", "trained"), low)]
    for (at, selection), group in groups.items():
        if at == rate:
            score = mean("test_accuracy", "train_prune", group=group)
            what = SHORT[selection]
            facts.append((f"train, prune ({what})", score, "test accuracy"))
            score = mean("test_accuracy", "prune_train", group=group)
            facts.append((f"prune ({what}), train", score, "test accuracy"))
    coasting = mean("coasting", "prune_train")
    note = f"of weights moved about {measure.coast():.4f} learning rates"
    return [
        *facts,
        (f"coasting: prune ({SHORT[first_selection]}), train", coasting, note),
    ]


def _film(content: bytes, caption: str) -> pages.Html:
    uri = pages.data_uri(content, "image/gif")
    picture = pages.tag("img", src=uri, alt=caption, style="--width: 696px")
    plate = pages.tag("div", picture, class_="plate fit")
    return pages.tag("figure", plate, pages.tag("figcaption", caption))


def _footer(config: Config, records) -> str:
    rates = config_.learning_rates(config)
    steps = ", ".join(f"{config_.steps(config, rate)[0]:,} at {rate}" for rate in rates)
    size = config_.batch_size(config)
    hidden = "-".join(map(str, config_.widths(config)))
    how = {
        "at_once": "the network as it is",
        "sequential": "the network whose earlier layers are pruned",
    }
    means = f" Means of removed nodes are taken in {how[config.means]}."
    return (
        f"Made by sparsejax from {counted(len(records), 'record')} of "
        f"metrics.jsonl. Hidden units "
        f"{hidden}, Glorot uniform kernels, Adam, steps of a training {steps}, "
        f"{f'batches of {size}' if size else 'all of the data in every step'}."
        f"{means if config.remove == 'nodes' else ''} After Hobson, Train first VS "
        "prune first in neural networks."
    )
