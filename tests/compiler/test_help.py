"""Every option and every command says what it does."""

import click
import pytest

from spartanc.compiler.cli import main


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_option_has_help(name):
    command = main.commands[name]
    assert command.help
    context = click.Context(command)
    options = [each for each in command.params if isinstance(each, click.Option)]
    silent = [each.opts[0] for each in options if not (each.get_help_record(context) or ("", ""))[1].strip()]
    assert silent == []
