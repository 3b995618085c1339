"""The commands of docs/clusters.md: their flags exist, and their YAML is one."""

import importlib
import re
from pathlib import Path

import pytest

from sparsejax import _flags, _merge, experiments
from sparsejax.experiments._study import shares

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "clusters.md").read_text("utf-8")
TEXT = re.sub(r"\\\n", " ", PAGE)
# A command of YAML goes on in lines that are further in.
TEXT = re.sub(r"(exec sparsejax [^\n]*)((?:\n {14}--[^\n]*)+)",
              lambda m: m[1] + m[2].replace("\n", " "), TEXT)  # fmt: skip
NAMES = "|".join(("merge", *experiments.EXPERIMENTS))
COMMANDS = re.findall(rf"sparsejax ({NAMES}) ([^`\n]*)", TEXT)


def defined(name):
    if name == "merge":
        return set(re.findall(r"--(\w+)", _merge.HELP))
    spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
    return set(_flags.defined(spec))


def test_every_flag_of_every_command_is_one():
    assert len(COMMANDS) >= 6 and {"merge", "lottery"} <= {n for n, _ in COMMANDS}
    for name, rest in COMMANDS:
        there = set(re.findall(r"--(\w+)", rest))
        assert there <= defined(name), (name, rest)


def test_every_flag_in_the_text_is_one():
    known = defined("lottery") | defined("node_sweep")
    known |= {"requeue", "kill", "array", "gpus", "job", "nodes", "ntasks"}  # Slurm's
    assert set(re.findall(r"--(\w+)", PAGE)) - known <= set()


def test_experiments_are_named_that_split_their_work_or_have_shards():
    rows = re.findall(r"^\| (\w+(?:, \w+)*) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == {
        "experiment", *experiments.EXPERIMENTS
    }  # fmt: skip
    spec = "sparsejax.experiments.{}.config"
    have = [n for n in experiments.EXPERIMENTS
            if hasattr(importlib.import_module(spec.format(n)), "shares")]  # fmt: skip
    named = re.search(r"For (lottery,[^:]*):", PAGE)
    assert named and set(re.findall(r"\w+", named[1])) - {"and"} == set(have)


def test_the_jobs_of_the_array_are_all_shards():
    spec = importlib.import_module("sparsejax.experiments.lottery.config")
    config = spec.Config(seeds=tuple(range(64)))
    seeds = [s for i in range(8) for s in shares.part(spec, config, f"{i}/8").seeds]
    assert seeds == [*range(64)]


def test_the_manifest_is_yaml():
    yaml = pytest.importorskip("yaml")
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    service, job = yaml.safe_load_all(text)
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (command,) = pod["containers"][0]["args"]
    assert f"--num_processes={job['spec']['completions']}" in command
    assert "--coordinator_address=lottery-0.lottery:6000" in command


def test_it_is_linked():
    assert "docs/clusters.md" in (ROOT / "README.md").read_text("utf-8")
