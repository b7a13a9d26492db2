"""Reports as HTML pages that need nothing else: nothing is fetched and nothing runs."""

from __future__ import annotations

import html


def page(title: str, style: str, body: str) -> str:
    """A whole page. title: plain text; style: CSS; body: HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
