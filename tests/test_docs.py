"""Examples in docs/ run as they are printed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spartanc.compiler.cli import main
from spartanc.models.checkpoint import save_model
from support.encoders import sentiment, write_encoder, write_examples
from support.fleets import TEXTS, on_backbone_of
from support.models import tiny_model

DOCS = Path(__file__).parents[1] / "docs"

DOCTEST = """
import doctest, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
# Everything outside ```python blocks is prose; blank lines in its place keep the line numbers.
inside, lines = False, []
for line in text.splitlines():
    fence = line.startswith("```")
    lines.append(line if inside and not fence else "")
    if fence:
        inside = not inside and line == "```python"
test = doctest.DocTestParser().get_doctest("\\n".join(lines) + "\\n", {}, "docs", sys.argv[1], 0)
assert len(test.examples) > 20
flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
sys.exit(doctest.DocTestRunner(optionflags=flags).run(test).failed)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the examples name, small ones."""
    folder = tmp_path_factory.mktemp("docs")
    model = tiny_model(labels=("ham", "spam"))
    save_model(model, folder / "model.pt")
    save_model(model, folder / "intents.pt")
    topics = on_backbone_of(model, tiny_model(labels=("travel", "film", "weather"), seed=5))
    save_model(topics, folder / "topics.pt")
    rows = [{"text": text, "label": ("ham", "spam")[i % 2]} for i, text in enumerate(TEXTS)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_encoder(folder / "encoder")
    write_examples(folder / "train.jsonl", sentiment(24, seed=0))
    write_examples(folder / "dev.jsonl", sentiment(8, seed=1))
    return folder


def test_the_examples_of_the_python_interface_do_what_they_say(place):
    command = [sys.executable, "-W", "ignore", "-c", DOCTEST, DOCS / "python-api.md"]
    done = subprocess.run(list(map(str, command)), cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_that_the_docs_name_exist_with_their_options():
    """Every `spartanc …` line of a shell block: its command and each of its options."""
    found = 0
    for file in DOCS.glob("*.md"):
        for block in re.findall(r"```sh\n(.*?)```", file.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.partition(" #")[0].split()
                if words[:1] != ["spartanc"] or words[1].startswith("-"):
                    continue
                command = main.commands.get(words[1])
                assert command is not None, f"{file.name}: {line}"
                options = {option for each in command.params for option in each.opts}
                for word in words[2:]:
                    assert not word.startswith("--") or word.partition("=")[0] in options, f"{file.name}: {line}"
                found += 1
    assert found > 5


def test_links_between_the_docs_lead_somewhere():
    for file in DOCS.glob("**/*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_the_python_example_of_getting_started_runs(place, tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "getting-started.md").read_text(), re.DOTALL)
    (tmp_path / "model.pt").symlink_to(place / "model.pt")
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(ham|spam) 0\.\d+\n", done.stdout)
