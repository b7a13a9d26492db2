"""All targets, and how a name is looked up."""

from __future__ import annotations

from collections.abc import Callable

from spartanc.base.targets.android_arm64 import ANDROID_ARM64
from spartanc.base.targets.host import host
from spartanc.base.targets.rpi3 import RPI3
from spartanc.base.targets.rpi4 import RPI4
from spartanc.base.targets.rpi5 import RPI5
from spartanc.base.targets.target import Target
from spartanc.errors import MissingToolError

_FIXED = (RPI3, RPI4, RPI5, ANDROID_ARM64)


def _always(target: Target) -> Callable[[], Target]:
    return lambda: target


_TARGETS: dict[str, Callable[[], Target]] = {"host": host, **{target.name: _always(target) for target in _FIXED}}


class UnknownTarget(MissingToolError):
    """No target has this name."""


def all_targets() -> tuple[Target, ...]:
    return tuple(make() for make in _TARGETS.values())


def find_target(name: str) -> Target:
    """The target called `name`; UnknownTarget (exit 5) where there is none."""
    try:
        return _TARGETS[name]()
    except KeyError:
        raise UnknownTarget(
            f"unknown target `{name}`", hint=f"targets: {', '.join(_TARGETS)}; see `spartanc targets`"
        ) from None
