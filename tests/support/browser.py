"""Opens a page in a real browser, without its window."""

import json
import re
import shutil
import subprocess
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def probe_page(page: str, folder: Any, width: int, found: str) -> dict[str, Any]:
    """What a browser of `width` pixels sees of a page: the JavaScript object `found`, with the widths of page and
    window and the number of what was fetched.
    """
    script = (
        f"<script>document.title = JSON.stringify({{...({found}), width: document.documentElement.scrollWidth,"
        " window: innerWidth, fetched: performance.getEntriesByType('resource').length});</script>"
    )
    (folder / "probed.html").write_text(page.replace("</body>", script + "</body>"))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
         f"--window-size={width},2000", "--dump-dom", f"file://{folder}/probed.html"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    return json.loads(title[1].replace("&quot;", '"').replace("&amp;", "&"))
