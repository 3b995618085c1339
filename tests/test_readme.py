"""The example in the README runs and says what one expects."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 20
    names: dict = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert printed.startswith("0.5 ")
    assert names["flat"](names["test"])[0].shape == (360, 64)
    accuracy = float(re.search(r"'accuracy': Array\(([\d.]+)", printed)[1])
    assert accuracy > 0.9


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text())
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
