"""What a gateway must not be made to carry, and what the documents must not get wrong."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def test_importing_the_agent_loads_no_tensorflow() -> None:
    script = (
        "import pkgutil, sys, edge_agent\n"
        "for module in pkgutil.walk_packages(edge_agent.__path__, 'edge_agent.'):\n"
        # A plain shared library that lies where a module would: Python takes it for one.
        "    if module.name != 'edge_agent.native._library': __import__(module.name)\n"
        "heavy = {'tensorflow', 'tf_keras', 'keras', 'sklearn', 'matplotlib', 'polars', 'pyarrow',"
        " 'trainer', 'converters'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "[]"


COMMANDS = {
    "edge-agent": "edge_agent.cli",
    "edge-train": "trainer.cli",
    "edge-convert": "converters.cli",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_in_the_readme_exists(command: str) -> None:
    readme = (ROOT / "README.md").read_text().replace("\\\n", " ")
    used = re.findall(rf"^\s*{command} ([^\n#]*)", readme, re.MULTILINE)
    assert used, f"the README shows no use of {command}"
    overview = shown_by_help(command)
    for line in used:
        word = line.split()[0]
        commands = re.findall(r"^  ([a-z]+) +[A-Z]", overview, re.MULTILINE)
        shown = shown_by_help(command, word) if word in commands else overview
        for option in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", line):
            assert re.search(rf"(?<!\S){option}\b", shown), f"{command} {word} has no {option}"


def shown_by_help(command: str, *subcommand: str) -> str:
    script = f"from {COMMANDS[command]} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *subcommand, "--help"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_documents_name_only_files_that_exist() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (ROOT / target).exists(), f"{name} points to {target}, which does not exist"
