"""The hooks of pre-commit run the checks of `make lint`."""

import shlex

import yaml

from local.checks import LINTERS
from local.instance import CHECKOUT


def test_the_pre_commit_hooks_run_the_linters_of_make_lint() -> None:
    configuration = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in configuration["repos"] for hook in repo["hooks"]]
    commands = [shlex.split(entry.partition(".venv/bin/")[2]) for entry in entries]

    assert commands == [list(linter) for linter in LINTERS]
