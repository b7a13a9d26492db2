"""Reports as HTML pages that need nothing else: nothing is fetched and nothing runs."""

from __future__ import annotations

import html
from pathlib import Path

from spartanc.base.files import require_writable, write_whole
from spartanc.errors import UsageError

STYLE = """
:root { --ink: #1d2330; --soft: #5c6675; --line: #d5dae2; --paper: #ffffff; --fill: #2f6fb2; --warn: #a4460b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #a3adba; --line: #3a4250; --paper: #14181f; --fill: #6aa7e8; --warn: #f0a45d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 760px; padding: 16px; font: 16px/1.5 system-ui, sans-serif;
       color: var(--ink); background: var(--paper); }
h1 { font-size: 1.4rem; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 8px; }
p { margin: 8px 0; }
.soft { color: var(--soft); }
.verdict { border-left: 4px solid var(--fill); padding: 4px 12px; }
.verdict.no { border-color: var(--warn); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; margin: 16px 0; }
.figures div { border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; }
.figures b { display: block; font-size: 1.25rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: var(--soft); }
svg .name { fill: var(--ink); }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg .bar { fill: var(--fill); }
svg .curve { stroke: var(--fill); stroke-width: 2; fill: none; }
svg .mark { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 4 3; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: 4px 6px; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
"""


def page(title: str, style: str, body: str) -> str:
    """A whole page. title: plain text; style: CSS; body: HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def check_page(path: Path) -> None:
    """Raise UsageError where no page can be written at `path`: before the work that it is to show."""
    try:
        require_writable(path)
    except OSError as error:
        raise _unwritten(path, error) from error


def write_page(path: Path, content: str) -> None:
    """`content` at `path`, whole or not at all. Raises UsageError."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> UsageError:
    return UsageError(f"`{path}` can't be written: {error.strerror or error}")
