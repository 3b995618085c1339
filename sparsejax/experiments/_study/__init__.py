"""The harness that every experiment runs in; it knows nothing of any of them.

An experiment is a folder with a face of `Config`, `run`, `plan` and `summary`:

    config.py    the frozen `Config` (no JAX), `SUBJECT`: flags that name what it looks
                 at, and the text of `--help` as the module's docstring
    _run.py      plan(config, subject=None, *, data_dir=None) -> lines of text
                 run(config, folder, subject=None, *, data_dir=None, force=False,
                     log=print) -> records
                 summary(folder) -> what was found, where it is, what to do next
    measure.py (or train.py), figures.py, report.py, page/

See `run.Study` for the shape of `run`, `config` for configs, `report` and `records` for
what comes of the results, `subject.Subject` for what is looked at.
"""
