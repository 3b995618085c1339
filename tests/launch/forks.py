"""Run Python scripts in forks of one process that has imported what launchers import.

What is imported may not start threads, such as those of a JAX backend: forks lose
them, and wait for them for ever.

Reads requests from stdin, a line of JSON each: script, arguments, files for stdout and
stderr, seconds until the fork is stopped by SIGALRM. Answers each with a line: the
return code. The fixture `launcher` starts this once and speaks to it.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import sys
from pathlib import Path

import absl.app  # noqa: F401
import jax  # noqa: F401

import sparsejax.experiments


def serve():
    """Fork for every request; return it in the fork, nothing at the end of stdin."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            return request
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(script, arguments, stdout, stderr, timeout):
    """What `python script arguments` does; an exit or an error ends the process."""
    signal.alarm(timeout)
    for number, path in enumerate((os.devnull, stdout, stderr)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def main():
    for name in ("_launch", "experiments.subjects", "experiments._study.report"):
        importlib.import_module(f"sparsejax.{name}")
    for module in pkgutil.iter_modules(sparsejax.experiments.__path__):
        importlib.import_module(f"sparsejax.experiments.{module.name}")
        if module.name in sparsejax.experiments.EXPERIMENTS and module.ispkg:
            importlib.import_module(f"sparsejax.experiments.{module.name}._run")
    if (tasks := Path("/proc/self/task")).exists() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("an import started threads: forks would wait for them")
    gc.freeze()  # what is imported: forks need not search it when they end
    if request := serve():
        become(*request)


if __name__ == "__main__":
    main()
