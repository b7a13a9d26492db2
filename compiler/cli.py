"""The `spartanc` command: arguments in, one result on stdout, progress and errors on stderr.

Every command is a thin shell over one function, imported when it runs, so that `--help` and the commands that need
no torch start at once.
"""

from __future__ import annotations

import functools
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from click.core import ParameterSource

from spartanc.base.json_text import json_text
from spartanc.base.quiet import hush
from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.base.terminal import can_show_unicode, escape_what_cannot_be_shown
from spartanc.base.version import VERSION
from spartanc.compiler.config_file import ConfigurableCommand
from spartanc.errors import GateError, Interrupted, SpartancError, UsageError

INTERRUPTED = 130  # as shells report SIGINT

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


class DeviceOption(click.Option):
    """Its help lists the devices, which take a moment to import: only where help is asked for."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from spartanc.runtime_py.devices.catalogue import SPELLINGS

        self.help = f"{SPELLINGS}."
        return super().get_help_record(ctx)


device_option = click.option("--device", cls=DeviceOption, default="local", show_default=True)
threads_option = click.option("--threads", type=click.IntRange(1), help="Threads; the target's cores by default.")


def arithmetic_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--arithmetic",
        type=click.Choice(["fp32", "int8", "int4"]),
        default=default,
        show_default=True,
        help="int8, int4: train on the arithmetic of --quantize int8 or int4, as the board computes it.",
    )


precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Precision of the frozen layers in training; bf16 is faster if the processor supports it.",
)
pooling_option = click.option(
    "--pooling",
    type=click.Choice(["auto", "pooler", "cls", "mean"]),
    default="auto",
    show_default=True,
    help="What the classifier reads. auto: the encoder's trained pooler, else what its sentence-transformers files"
    " say, else the mean of all tokens.",
)
signature_option = click.option(
    "--require-signature",
    type=click.Path(path_type=Path),
    metavar="PUB",
    help="Refuse a bundle that was not signed with the private half of this key.",
)
sign_option = click.option(
    "--sign", type=click.Path(path_type=Path), metavar="KEY", help="Sign the bundle; `spartanc keygen` makes keys."
)

problem_option = click.option(
    "--problem",
    metavar="TYPE",
    default="auto",
    show_default=True,
    help="classification, regression, multilabel or auto: lists are several labels, plain decimals are numbers if they"
    " can hardly be classes.",
)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--text-column`, `--pair-column`, `--label-column`, `--label-separator`, which reach the command as `columns`."""
    names = ("text_column", "pair_column", "label_column", "label_separator")

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any):
        from spartanc.runtime_py.data import Columns

        return command(*args, columns=Columns(*(options.pop(name) for name in names)), **options)

    help_text = "What stands between several labels in one cell, for example `,`; an empty cell has none."
    wrapped = click.option("--label-separator", metavar="TEXT", help=help_text)(wrapped)
    for name, usual in (("label", "label"), ("pair", "text_pair"), ("text", "text")):
        help_text = f"Name of the column with the data's `{usual}`."
        wrapped = click.option(f"--{name}-column", metavar="NAME", help=help_text)(wrapped)
    return wrapped


def given_options(*, among: Sequence[str] | None = None, without: Sequence[str] = ()) -> list[str]:
    """The options that this call was given, as they are spelt; by the names of their parameters.

    Not those of a --config file, which may hold every default.
    """
    ctx = click.get_current_context()
    return [
        option.opts[0]
        for option in ctx.command.params
        if option.name is not None
        and (among is None or option.name in among)
        and option.name not in without
        and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """End the process with one clear message and the error's exit code."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except SpartancError as error:
            click.secho("error: ", fg="red", bold=True, err=True, nl=False)
            click.echo(str(error), err=True)
            sys.exit(error.exit_code)
        except Interrupted as interruption:
            click.echo(str(interruption), err=True)
            if interruption.goes_on:
                words = [word for word in sys.argv[1:] if word != "--resume"]
                click.echo(f"go on with: {shlex.join(['spartanc', *words, '--resume'])}", err=True)
            sys.exit(INTERRUPTED)
        except KeyboardInterrupt:
            click.echo("interrupted; nothing was left behind", err=True)
            sys.exit(INTERRUPTED)

    return wrapped


def _numbers(_context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(",")) if text else ()
    except ValueError:
        raise click.BadParameter(f"expected numbers with commas between them, got `{text}`", param=parameter) from None


def print_json(result: Any) -> None:
    click.echo(json_text(result, ascii_only=not can_show_unicode(sys.stdout)))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(VERSION)
def main() -> None:
    """Compile trained SPARTAN models to small Arm devices.

    \b
    Exit codes: 0 done; 2 wrong use, unreadable or altered input; 3 model not supported; 4 a compile stage
    failed; 5 target, toolchain or device missing; 6 it ran and missed a gate.
    """
    hush()
    escape_what_cannot_be_shown()


@main.command()
@click.argument("target")
@json_option
@reports_errors
def setup(target: str, as_json: bool) -> None:
    """Download what TARGET needs, once per user.

    It goes into the per-user cache; no other command downloads anything.
    """
    from spartanc.runtime_py.setup_target import setup_target

    result = setup_target(target)
    print_json(result) if as_json else click.echo(f"{target} is ready")


@main.command()
@json_option
@reports_errors
def targets(as_json: bool) -> None:
    """List the devices that spartanc compiles for."""
    from spartanc.compiler.present import print_targets, target_rows

    rows = target_rows()
    print_json(rows) if as_json else print_targets(rows)


@main.command()
@json_option
@reports_errors
def doctor(as_json: bool) -> None:
    """Report what is installed and what is missing.

    Each missing item comes with a hint on how to get it.
    """
    from spartanc.compiler.doctor import examine
    from spartanc.compiler.present import print_doctor

    checks = examine()
    print_json({"ok": all(c["ok"] for c in checks if c["needed_for"] == "host"), "checks": checks}) if as_json else (
        print_doctor(checks)
    )


@main.command()
@click.argument("key", type=click.Path(path_type=Path))
@json_option
@reports_errors
def keygen(key: Path, as_json: bool) -> None:
    """Make a pair of keys to sign bundles with.

    KEY signs (`compile --sign KEY`), KEY.pub checks (`--require-signature KEY.pub`).
    """
    from spartanc.runtime_py.signature import write_key_pair

    public = write_key_pair(key)
    result = {"private": str(key), "public": str(public)}
    print_json(result) if as_json else click.echo(f"wrote {key} (keep it to yourself) and {public}")


@main.command(cls=ConfigurableCommand)
@click.option("--backbone", required=True, type=click.Path(path_type=Path), help="Hugging Face encoder directory.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Training rows: .jsonl, .csv, .parquet …")
@click.option(
    "--eval",
    "eval_",
    type=click.Path(path_type=Path),
    help="Development rows; without it a tenth of --data is held out.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The model to write.")
@click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    help="Passes over the rows; 3 by default, more if there are few rows.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option("--no-samples", is_flag=True, help="Do not keep evaluation texts (up to 1,000) in the model.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Learning rate of the memories.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step.")
@click.option("--max-length", type=click.IntRange(2), default=128, show_default=True, help="Longest text in tokens.")
@precision_option
@arithmetic_option("int8")
@click.option("--parents", type=int, default=16, show_default=True, help="Parent cells (E).")
@click.option("--cells", type=int, default=48, show_default=True, help="Cells in total (M).")
@click.option("--top-k", type=int, default=8, show_default=True, help="Parents chosen (K).")
@click.option("--temperature", type=float, default=1.6, show_default=True, help="Divides the logits of keys (T).")
@click.option(
    "--layer-norm",
    type=click.Choice(["none", "post"]),
    default="none",
    show_default=True,
    help="LayerNorm after a memory's residual.",
)
@click.option("--layers", type=click.IntRange(1), help="Use only the first N layers of the encoder.")
@pooling_option
@click.option("--init-from", type=click.Path(path_type=Path), help="Start from the memories of this model.")
@click.option("--teacher", type=click.Path(path_type=Path), help="A model of the same task to learn from as well.")
@click.option("--resume", is_flag=True, help="Continue an interrupted training of the same --out.")
@click.option("--overwrite", is_flag=True, help="Replace the model at --out once the new one is complete.")
@click.option(
    "--metric",
    default="auto",
    show_default=True,
    help="The measure that chooses the epoch: accuracy, macro_f1, r2 … auto: macro_f1 if a class has most of the rows.",
)
@click.option("--patience", type=click.IntRange(1), help="Stop after so many evaluations without a better one.")
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    show_default=True,
    help="balanced: every class counts alike in the loss.",
)
@click.option(
    "--memory-sparsity",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of zeros in the memories' keys and values; task files of a fleet keep the others only.",
)
@click.option(
    "--sparsifier",
    type=click.Choice(["magnitude", "random", "top-kast", "spartan"]),
    default="top-kast",
    show_default=True,
    help="What chooses the zeros of --memory-sparsity.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page about the training.")
@click.option(
    "--report-to",
    type=click.Choice(["none", "tensorboard", "wandb"]),
    default="none",
    show_default=True,
    help="Where to show the course too; each needs its package.",
)
@click.option(
    "--require-learning", is_flag=True, help="Write no model that is no better than one answer to everything."
)
@problem_option
@json_option
@reports_errors
@column_options
def train(
    as_json: bool, backbone: Path, data: Path, eval_: Path | None, out: Path, no_samples: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Train SPARTAN memories on a frozen encoder.

    The epoch that is best on --eval is kept. Rows have the columns `text`, `label` (or `labels`, a list of several)
    and, for two sentences, `text_pair`; files are .jsonl, .csv, .tsv (each also .gz), .parquet, .arrow, or a folder
    that `datasets` saved. Runs on several processes under `accelerate launch --multi_gpu`, on processors too.
    """
    from spartanc.compiler.present import print_training
    from spartanc.models.memory import SpartanConfig
    from spartanc.models.settings import TrainRequest, TrainSettings
    from spartanc.models.training import train
    from spartanc.models.training_work import is_first_process

    memory = ("parents", "cells", "top_k", "temperature", "layer_norm")
    spartan = SpartanConfig(**{name: options.pop(name) for name in memory})
    how = (
        "epochs", "seed", "learning_rate", "batch_size", "max_length", "precision", "arithmetic", "metric", "patience",
        "class_weights", "memory_sparsity", "sparsifier",
    )  # fmt: skip
    if options["memory_sparsity"] == 0 and given_options(among=("sparsifier",)):
        raise UsageError("--sparsifier chooses zeros, and there are none", hint="ask for some: --memory-sparsity 0.5")
    adapt = options["epochs"] is None
    settings = TrainSettings().changed(**{name: options.pop(name) for name in how})
    request = TrainRequest(
        backbone, data, eval_, out, settings=settings, adapt=adapt, spartan=spartan, samples=not no_samples, **options
    )
    result = train(request).as_json()
    if is_first_process():
        print_json(result) if as_json else print_training(result)


@main.command()
@click.option("--backbone", required=True, type=click.Path(path_type=Path), help="Hugging Face encoder directory.")
@click.option(
    "--texts",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Texts to learn from, labels unread: .txt (one a line), .jsonl, .csv … Several times for several files.",
)
@click.option("--target", help="The board that shall be faster; `spartanc targets` lists them.")
@click.option(
    "--vocabulary-from",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Keep only the tokenizer's pieces that these texts need. Without --texts nothing else changes.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write; absent or empty.")
@click.option("--speedup", type=float, default=1.3, show_default=True, help="How many times as fast, as modelled.")
@click.option("--length", type=click.IntRange(2), default=128, show_default=True, help="Tokens of an input, for that.")
@click.option("--minutes", type=float, default=10.0, show_default=True, help="Time for all of it.")
@click.option("--steps", type=click.IntRange(0), help="Steps of distillation, in place of a time.")
@click.option(
    "--judge",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Labelled rows to compare both encoders on; best of tasks that --texts has nothing of.",
)
@click.option(
    "--sparsifier",
    type=click.Choice(["second-order", "magnitude", "random", "top-kast", "spartan"]),
    default="second-order",
    show_default=True,
    help="What chooses the units that stay.",
)
@click.option("--uneven", is_flag=True, help="Let layers keep different numbers of units, more where they say more.")
@precision_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same --out.")
@click.option("--overwrite", is_flag=True, help="Replace the directory at --out once the new one is complete.")
@json_option
@reports_errors
def slim(as_json: bool, vocabulary_from: tuple[Path, ...], **options: Any) -> None:
    """Make an encoder narrower, once for all tasks to come.

    Feed-forward units that say least leave, as many as the board's modelled time asks for, and what is left learns the
    encoder's hidden states again. The result is an encoder's directory for `train --backbone`; slim.html in it tells
    what was lost. Models and task files of the encoder before do not fit it.
    """
    from spartanc.base.targets.catalogue import find_target
    from spartanc.compiler.present import print_slimming, print_vocabulary
    from spartanc.models.slim.directory import check_output
    from spartanc.models.slim.request import SlimRequest
    from spartanc.models.slim.slim import slim
    from spartanc.models.slim.vocabulary import cut_vocabulary

    backbone, out, target = options["backbone"], options["out"], options.pop("target")
    if vocabulary_from and not options["texts"]:
        if unused := given_options(without=("backbone", "vocabulary_from", "out", "overwrite", "as_json")):
            raise UsageError(
                f"{', '.join(unused)}: of no use without `--texts FILE`, which the narrower encoder learns from",
                hint="`--vocabulary-from` alone takes pieces out and changes nothing else",
            )
        cut = cut_vocabulary(backbone, vocabulary_from, out, overwrite=options["overwrite"]).as_json()
        return print_json(cut) if as_json else print_vocabulary(cut)
    if not options["texts"] or target is None:
        raise UsageError(
            "slim needs `--texts FILE` and `--target NAME`", hint="or `--vocabulary-from FILE`, for fewer pieces alone"
        )
    if len(both := given_options(among=("minutes", "steps"))) == 2:
        raise UsageError(f"give {' or '.join(both)}: a number of steps takes the time that it takes")
    with TemporaryDirectory(prefix="spartanc-") as scratch:
        if vocabulary_from:
            check_output(out, backbone, options["overwrite"])  # `slim` sees the copy in its place
            cut_vocabulary(backbone, vocabulary_from, Path(scratch) / "encoder")
            options["backbone"] = Path(scratch) / "encoder"
        result = slim(SlimRequest(target=find_target(target), **options)).as_json()
    print_json(result) if as_json else print_slimming(result)


@main.command("compile")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", required=True, help="`spartanc targets` lists them.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write; absent or empty.")
@click.option("--quantize", help=f"{', '.join(QUANTIZATIONS)}; the target's default if absent.")
@click.option(
    "--lowering",
    type=click.Choice(["fused", "portable"]),
    help="fused: our operators; portable: stock operators only. The target decides by default.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["executorch", "torchscript"]),
    default="executorch",
    show_default=True,
    help="torchscript: a file for runtimes without ExecuTorch.",
)
@click.option("--max-length", type=int, default=128, show_default=True, help="Longest input in tokens.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Texts to validate the result on, instead of the model's own."
)
@click.option("--shared-backbone", is_flag=True, help="One program for all models and a small file per task.")
@click.option("--no-runtime", is_flag=True, help="Leave out the native runtime of a device target.")
@click.option("--check-reproducible", is_flag=True, help="Compile twice; write nothing unless every byte is the same.")
@sign_option
@json_option
@reports_errors
@column_options
def compile_command(
    as_json: bool, models: tuple[Path, ...], format_: str, no_runtime: bool, check_reproducible: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Compile MODELS to a bundle, validated against eager PyTorch."""
    from spartanc.runtime_py.build import require_runtime

    if not no_runtime and format_ == "executorch":
        require_runtime(options["target"])  # before seconds of imports that it does not need
    from spartanc.compiler.pipeline import CompileRequest, compile_model
    from spartanc.compiler.present import print_compile
    from spartanc.compiler.reproducible import compile_twice

    request = CompileRequest(models=models, format=format_, runtime=not no_runtime, **options)
    result = (compile_twice(request) if check_reproducible else compile_model(request)).as_json()
    print_json(result) if as_json else print_compile(result)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--text", help="One text to classify.")
@click.option("--text-pair", help="The second text of a two-sentence task.")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to classify: .jsonl, .csv, .parquet …")
@click.option("--ids", type=click.Path(path_type=Path), help="safetensors with input_ids and attention_mask.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write the answers to this .csv, .jsonl or .parquet file."
)
@click.option("--task", help="The task of a bundle with a shared backbone.")
@device_option
@threads_option
@signature_option
@json_option
@reports_errors
@column_options
def run(bundle: Path, as_json: bool, **options: Any) -> None:
    """Classify with a bundle."""
    from spartanc.base.progress import say
    from spartanc.compiler.present import print_predictions
    from spartanc.compiler.run import answer_rows

    given = [name for name in ("text", "data", "ids") if options[name] is not None]
    if len(given) != 1:
        raise UsageError("give exactly one of `--text`, `--data` and `--ids`")
    if options["text_pair"] is not None and options["text"] is None:
        raise UsageError("`--text-pair` goes with `--text`")
    answers = answer_rows(bundle, **options)
    print_json(answers.rows) if as_json else print_predictions(answers.rows)
    for note in answers.notes:
        say(note)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="The model that the bundle was compiled from.")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled rows: .jsonl, .csv, .parquet …")
@click.option("--expected", type=click.Path(path_type=Path), help="safetensors with input_ids, attention_mask, logits.")
@click.option("--task", help="The task of a bundle with a shared backbone.")
@click.option("--limit", type=click.IntRange(1), help="Use only the first N rows.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Required share of equal labels.")
@click.option("--max-diff", type=click.FloatRange(0), help="Largest logit difference allowed.")
@click.option("--stages", is_flag=True, help="Compile again stage by stage and report what each stage costs.")
@device_option
@threads_option
@signature_option
@json_option
@reports_errors
@column_options
def verify(bundle: Path, as_json: bool, **options: Any) -> None:
    """Compare a bundle with eager PyTorch.

    Runs the bundle on --device and the model here; compares labels, logits and accuracy.
    """
    from spartanc.compiler.present import print_verification
    from spartanc.compiler.verify import VerifyRequest, verify_bundle

    result = verify_bundle(VerifyRequest(bundle=bundle, **options))
    print_json(result.as_json()) if as_json else print_verification(result.as_json())
    if not result.passed:
        raise GateError(f"`{bundle}` on `{options['device']}` missed its gates: {'; '.join(result.reasons)}")


@main.command("add-task")
@click.argument("fleet", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", help="The task's name; the model's file name without `.pt` if absent.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Texts to validate the task on, instead of the model's own."
)
@sign_option
@signature_option
@json_option
@reports_errors
@column_options
def add_task_command(fleet: Path, model: Path, as_json: bool, **options: Any) -> None:
    """Add the task of MODEL to FLEET.

    The program stays as it is.
    """
    from spartanc.compiler.fleet import add_task
    from spartanc.compiler.present import size

    result = add_task(fleet, model, **options)
    print_json(result) if as_json else click.echo(f"added {result['added']} ({size(result['bytes'])}) to {fleet}")


@main.command("remove-task")
@click.argument("fleet", type=click.Path(path_type=Path))
@click.argument("name")
@sign_option
@signature_option
@json_option
@reports_errors
def remove_task_command(fleet: Path, name: str, as_json: bool, **options: Any) -> None:
    """Take the task NAME out of FLEET."""
    from spartanc.compiler.fleet import remove_task

    result = remove_task(fleet, name, **options)
    print_json(result) if as_json else click.echo(f"removed {name} from {fleet}")


@main.command("list")
@click.argument("fleet", type=click.Path(path_type=Path))
@signature_option
@json_option
@reports_errors
def list_command(fleet: Path, as_json: bool, require_signature: Path | None) -> None:
    """List the tasks of FLEET with their sizes."""
    from spartanc.compiler.fleet import list_tasks
    from spartanc.compiler.present import print_fleet

    result = list_tasks(fleet, require_signature)
    print_json(result) if as_json else print_fleet(result)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--task", help="The task of a bundle with a shared backbone.")
@click.option("--length", type=int, help="Tokens of the input; 128, or the bundle's maximum if that is less.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), help="Another bundle to compare with, in alternating runs."
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a one-page report.")
@click.option(
    "--verification",
    type=click.Path(path_type=Path),
    help="What `verify --json` printed: --html shows it, with `--stages` the noise by stage too.",
)
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Time limit of the measured runs.")
@click.option("--lengths", callback=_numbers, help="More lengths to measure, for example `16,32,64`.")
@click.option("--sweep-threads", callback=_numbers, help="More thread counts to measure, for example `1,2,4`.")
@click.option("--operators", is_flag=True, help="Also time every operator; implied by `--html`.")
@click.option("--weight-cache", is_flag=True, help="Switch XNNPACK's weight cache on.")
@device_option
@threads_option
@signature_option
@json_option
@reports_errors
def bench(
    bundle: Path,
    as_json: bool,
    task: str | None,
    baseline: Path | None,
    html: Path | None,
    verification: Path | None,
    device: str,
    lengths: tuple[int, ...],
    sweep_threads: tuple[int, ...],
    operators: bool,
    require_signature: Path | None,
    **options: Any,
) -> None:
    """Measure a bundle's latency and memory.

    Also its load time, and how far to trust each figure.
    """
    from spartanc.base.progress import stage
    from spartanc.runtime_py.bench import BenchPlan, bench_bundle
    from spartanc.runtime_py.bench_result import BenchResult, PageNotWrittenError
    from spartanc.runtime_py.report import read_verification, text_summary

    verified = None if verification is None else read_verification(verification)
    plan = BenchPlan(lengths=lengths, thread_counts=sweep_threads, operators=operators or html is not None, **options)

    def show(result: BenchResult) -> None:
        print_json(result.as_json()) if as_json else click.echo(text_summary(result.as_json()))

    try:
        with stage(f"measure on {device}"):
            result = bench_bundle(
                bundle,
                task=task,
                device=device,
                baseline=baseline,
                plan=plan,
                html=html,
                verification=verified,
                require_signature=require_signature,
            )
    except PageNotWrittenError as error:
        show(error.result)
        raise
    show(result)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@signature_option
@json_option
@reports_errors
def inspect(path: Path, as_json: bool, require_signature: Path | None) -> None:
    """Show what a bundle or a model is made of."""
    from spartanc.compiler.inspection import inspect_path
    from spartanc.compiler.present import print_inspection

    found = inspect_path(path, require_signature)
    print_json(found) if as_json else print_inspection(found)


@main.command("android-assets")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The app's assets directory.")
@click.option("--name", help="Its name in the app; the bundle's directory name by default.")
@signature_option
@json_option
@reports_errors
def android_assets(bundle: Path, out: Path, name: str | None, as_json: bool, require_signature: Path | None) -> None:
    """Copy a bundle into the Android demo.

    It is checked first.
    """
    from spartanc.compiler.android_assets import write_android_assets

    result = write_android_assets(bundle, out, name, require_signature)
    print_json(result) if as_json else click.echo(f"wrote {len(result['files'])} files to {result['assets']}")


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Labelled rows: .jsonl, .csv, .parquet …")
@click.option("--html", type=click.Path(path_type=Path), help="The page to write.")
@json_option
@reports_errors
@column_options
def topics(model: Path, data: Path, html: Path | None, as_json: bool, columns: Any) -> None:
    """Show which parents fire for which labels."""
    from spartanc.compiler.present import print_topics
    from spartanc.models.topics import topics as read_topics

    result = read_topics(model, data, html, columns=columns)
    print_json(result) if as_json else print_topics(result)


@main.command()
@click.option("--backbone", required=True, type=click.Path(path_type=Path), help="Hugging Face encoder directory.")
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Directory with train, dev and test files; may be repeated.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Directory of the runs; existing runs are kept."
)
@click.option(
    "--methods", default="spartan,houlsby,pfeiffer,lora,head,full", show_default=True, help="What to compare."
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Seeds 0 to N-1.")
@click.option("--shots", default="all", show_default=True, help="Numbers of training rows, for example `all,200,32`.")
@click.option(
    "--epochs", type=click.FloatRange(0, min_open=True), default=3, show_default=True, help="Passes over the rows."
)
@click.option(
    "--rates",
    default="1",
    show_default=True,
    help="Factors of the learning rate to choose from, for example `0.3,1,3`.",
)
@click.option("--max-length", type=click.IntRange(2), default=128, show_default=True, help="Longest text in tokens.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step.")
@precision_option
@arithmetic_option("fp32")
@click.option("--layers", type=click.IntRange(1), help="Use only the first N layers of the encoder.")
@pooling_option
@click.option("--html", type=click.Path(path_type=Path), help="The page to write.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time.")
@problem_option
@json_option
@reports_errors
@column_options
def study(
    backbone: Path, data: tuple[Path, ...], out: Path, methods: str, shots: str, rates: str, html: Path | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Compare SPARTAN with adapters on your data.

    An interrupted study goes on where it stopped.
    """
    from spartanc.base.progress import say
    from spartanc.compiler.present import print_study
    from spartanc.models.study import StudyPlan
    from spartanc.models.study import study as run_study

    words = [word.strip() for word in shots.split(",")]
    if not all(word == "all" or (word.isdecimal() and int(word) > 0) for word in words):
        raise UsageError(f"`--shots {shots}`: expected `all` or numbers of rows, as in `all,200,32`")
    counts = tuple(None if word == "all" else int(word) for word in words)
    names = tuple(name.strip() for name in methods.split(","))
    try:
        factors = tuple(float(word) for word in rates.split(","))
    except ValueError:
        factors = ()
    if not factors or not all(0 < factor < math.inf for factor in factors):
        raise UsageError(f"`--rates {rates}`: expected positive numbers, as in `0.3,1,3`")
    plan = StudyPlan(backbone, data, out, methods=names, shots=counts, factors=factors, page=html, **options)
    result = run_study(plan, say).as_json()
    print_json(result) if as_json else print_study(result)
