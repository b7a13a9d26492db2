"""A command's options in a TOML file: `--config FILE` reads them, `--save-config FILE` writes those of this call.

A key is an option's long name without the dashes (`learning-rate = 0.003`). What stands on the command line wins over
the file, the file over defaults. Paths are relative to the working directory, as on the command line.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from spartanc.base.files import write_whole
from spartanc.base.version import VERSION
from spartanc.models.training_work import is_first_process

# About one call rather than about what it makes: a file may set them, none that is written does.
OF_ONE_CALL = ("resume", "overwrite", "json")
_OWN = ("config", "save-config")


class ConfigurableCommand(click.Command):
    """A command with the two options."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        path = click.Path(path_type=Path)
        self.params += [
            click.Option(
                ["--config"],
                type=path,
                is_eager=True,  # before the options whose defaults it gives
                expose_value=False,
                callback=_take_config,
                help="Options from a TOML file; those given here win.",
            ),
            click.Option(["--save-config"], type=path, help="Write the options of this call to a TOML file."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        file = ctx.params.pop("save_config")
        if file is not None and is_first_process():
            write_config(file, self, ctx)
        return super().invoke(ctx)


def _take_config(ctx: click.Context, _option: click.Parameter, file: Path | None) -> None:
    if file is not None:
        ctx.default_map = read_config(file, ctx.command, ctx)


def read_config(path: Path, command: click.Command, ctx: click.Context) -> dict[str, Any]:
    """The options in a file by the names of the command's parameters; click.UsageError names file, line and key."""
    text, content = _parse(path)
    options = {_long_name(each): each for each in command.params if isinstance(each, click.Option)}
    options = {name: option for name, option in options.items() if name not in _OWN}
    found: dict[str, Any] = {}
    for key, value in content.items():
        at = f"`{path}`{_line_of(key, text)}"
        if key not in options:
            near = difflib.get_close_matches(key, options, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"`spartanc {command.name} --help` lists the options"
            raise click.UsageError(f"{at}: `{key}` is no option of `{command.name}`\nhint: {hint}")
        option = options[key]
        is_wanted, words = _wanted(option)
        if not is_wanted(value):
            raise click.UsageError(f"{at}: `{key}` must be {words}, got {_shown(value)}")
        try:
            option.type.convert(value, option, ctx)
        except click.BadParameter as error:
            raise click.UsageError(f"{at}: `{key}`: {error.message}") from None
        assert option.name is not None
        found[option.name] = value
    return found


def write_config(path: Path, command: click.Command, ctx: click.Context) -> None:
    """Write the options that this call has, defaults too: a later version may have others.

    Raises click.UsageError where the file can't be written, or where another one stands there.
    """
    if path.exists():
        _parse(path)  # a file of settings may be written over, another one not
    lines = [f"# Options of `spartanc {command.name}`, written by spartanc {VERSION}."]
    for option in command.params:
        key, value = _long_name(option), ctx.params.get(option.name or "")  # those of this file have no value
        if key in OF_ONE_CALL or value is None or not isinstance(option, click.Option):
            continue
        lines.append(f"{key} = {_as_toml(value)}")
    try:
        write_whole(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise click.UsageError(f"cannot write `{path}`: {error.strerror}") from None
    except UnicodeEncodeError:
        raise click.UsageError(f"cannot write `{path}`: a name of a file is not in UTF-8, which TOML is") from None


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise click.UsageError(f"cannot read `{path}`: {error.strerror}") from None
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError, which says where
        raise click.UsageError(f"`{path}` is not a TOML file: {error}") from None


def _long_name(option: click.Parameter) -> str:
    return next(each for each in option.opts if each.startswith("--")).removeprefix("--")


def _wanted(option: click.Option) -> tuple[Callable[[Any], bool], str]:
    """Which values of TOML an option takes, and that in words."""
    if option.is_flag:
        return (lambda value: isinstance(value, bool)), "true or false"
    if isinstance(option.type, click.types.FloatParamType):
        return (lambda value: isinstance(value, int | float) and not isinstance(value, bool)), "a number"
    if isinstance(option.type, click.types.IntParamType):
        return (lambda value: isinstance(value, int) and not isinstance(value, bool)), "a whole number"
    return (lambda value: isinstance(value, str)), "a string"


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table; options stand in none"
    return f"`{_as_toml(value)}`" if isinstance(value, bool | int | float | str) else f"`{value}`"


def _line_of(key: str, text: str) -> str:
    """tomllib keeps no lines: the first one that starts with the key, bare or in quotes, or with its table."""
    start = re.compile(rf"\s*\[*\s*([\"']?){re.escape(key)}\1\s*[=.\]]")
    for number, line in enumerate(text.splitlines(), 1):
        if start.match(line):
            return f", line {number}"
    return ""
