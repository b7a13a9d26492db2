"""Runs `spartanc` commands in this process."""

import json
from typing import Any

from click.testing import CliRunner, Result

from spartanc.compiler.cli import main


def spartanc(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def spartanc_json(*arguments: object, code: int = 0) -> Any:
    """The JSON that a command printed, and nothing else on stdout; fails with what the command said."""
    result = spartanc(*arguments, "--json")
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    return json.loads(result.stdout)
