"""Classifies texts with the bundle that this file came in: `python3 runtime/run.py --text "…"`; with
`run.py serve --socket PATH` those that clients send, as lines of JSON (docs/service.md).

Needs Python 3.11 or later with numpy and tokenizers; everything else stands beside this file. Answers go to
stdout as one JSON document, errors to stderr; exit codes are spartanc's (2 wrong use or altered bundle, 5
something missing).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spartanc.runtime_py.bundle import Bundle

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a bundle holds what its manifest lists and nothing else
sys.path.insert(0, str(HERE))  # the modules that came with this bundle, whatever else is installed


def main() -> int:
    try:
        import numpy  # noqa: F401
        import tokenizers  # noqa: F401
    except ImportError as error:
        print(f"error: `{error.name}` is missing\nhint: pip install numpy tokenizers", file=sys.stderr)
        return 5

    from spartanc.base.json_text import json_text
    from spartanc.base.terminal import can_show_unicode
    from spartanc.errors import SpartancError

    serves = sys.argv[1:2] == ["serve"]
    arguments = parse_serve(sys.argv[2:]) if serves else parse_arguments()
    try:
        if serves:
            return serve(arguments)
        answers = classify(arguments)
    except SpartancError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json_text(answers, ascii_only=not can_show_unicode(sys.stdout)))
    return 0


def classify(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The answers that were asked for, after everything that needs no program was checked."""
    from spartanc.errors import UsageError
    from spartanc.runtime_py.bundle import open_bundle
    from spartanc.runtime_py.classifier import Classifier
    from spartanc.runtime_py.data import Columns, read_examples, require_data
    from spartanc.runtime_py.data.example import make_example

    given = (arguments.text_column, arguments.pair_column, arguments.label_column, arguments.label_separator)
    columns = Columns(*given)
    require_data(columns, arguments.data)
    if arguments.text_pair is not None and arguments.text is None:
        raise UsageError("`--text-pair` goes with `--text`")
    bundle = open_bundle(arguments.bundle, require_signature=arguments.require_signature, task_by_task=True)
    if bundle.tokenizer is None:
        raise UsageError(
            f"bundle `{bundle.path}` has no tokenizer, so it takes no text",
            hint="give token ids to the command beside this file: `runtime/spartan run --ids`",
        )
    if arguments.data is None:
        examples = [make_example(arguments.text, arguments.text_pair, None, "`--text`")]
    else:
        examples = read_examples(arguments.data, columns)
    warn_of_damage(bundle, arguments.task)
    with Classifier(bundle, library=HERE / "libspartan.so", threads=arguments.threads) as model:
        answers = model.answer_examples(examples, arguments.task, arguments.data or "--text")
    pairs = [{} if each.text_pair is None else {"text_pair": each.text_pair} for each in examples]
    return [{"text": each.text} | pair | found for each, pair, found in zip(examples, pairs, answers, strict=True)]


def serve(arguments: argparse.Namespace) -> int:
    """Answers clients until SIGTERM. It loads first and listens then: whoever can connect gets answers."""
    from spartanc.runtime_py.bundle import open_bundle
    from spartanc.runtime_py.classifier import Classifier
    from spartanc.runtime_py.service.listener import Listener, require_free
    from spartanc.runtime_py.service.model import Model
    from spartanc.runtime_py.service.notify import notify_manager
    from spartanc.runtime_py.service.server import Server, stop_signals

    require_free(arguments.socket)
    with stop_signals() as stop:
        bundle = open_bundle(arguments.bundle, require_signature=arguments.require_signature, task_by_task=True)
        warn_of_damage(bundle)
        model = Model(bundle, lambda: Classifier(bundle, library=HERE / "libspartan.so", threads=arguments.threads))
        try:
            listener = Listener(arguments.socket)
            print(f"serving `{arguments.bundle}` at `{arguments.socket}`", file=sys.stderr, flush=True)
            if not notify_manager("READY=1\nSTATUS=serving"):
                print("warning: the service manager could not be told that the server is ready", file=sys.stderr)
            Server(model, listener, stop, arguments.patience).serve()
        finally:
            model.close()
    return 0


def warn_of_damage(bundle: Bundle, task: str | None = None) -> None:
    """A line on stderr for each task that can't be used, but for `task`, whose use is an error of its own."""
    for name, what in bundle.damaged.items():
        if name != task:
            print(f"warning: the task `{name}` can't be used: {what}", file=sys.stderr)


def parse_serve(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py serve", description="Answers lines of JSON on a Unix socket.")
    parser.add_argument("--socket", type=Path, required=True, help="its file; that of a dead server is replaced")
    parser.add_argument(
        "--patience",
        type=int,
        choices=range(1, 3601),
        default=30,
        metavar="S",
        help="seconds that a client may leave a line unfinished, or an answer unread (30)",
    )
    add_common(parser)
    return parser.parse_args(words)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Classifies texts with the bundle that this file came in.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="one text")
    what.add_argument("--data", type=Path, help="rows: .jsonl, .csv, .tsv; with pyarrow .parquet and .arrow too")
    parser.add_argument("--text-pair", help="the second text, of a model that takes two")
    for name, usual in (("text", "text"), ("pair", "text_pair"), ("label", "label")):
        parser.add_argument(f"--{name}-column", metavar="C", help=f"what --data calls its column `{usual}`")
    parser.add_argument("--label-separator", metavar="TEXT", help="what stands between several labels in one cell")
    parser.add_argument("--task", help="of a bundle with a shared backbone: the task's name, or its file")
    add_common(parser)
    return parser.parse_args()


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, help="threads; one a processor without it")
    parser.add_argument("--bundle", type=Path, default=HERE.parent, help="another bundle's directory")
    parser.add_argument(
        "--require-signature",
        type=Path,
        metavar="PUB",
        help="refuse a bundle that is not signed with this key; needs the package cryptography",
    )


if __name__ == "__main__":
    sys.exit(main())
