"""Slimming: fewer feed-forward units for a modelled speed, then distillation, then a judgement; a directory comes out.

Units are chosen layer by layer with the next matrix solved anew (`feed_forward.py`), unless the sparsifier moves masks
while it trains; then the slim encoder learns the dense one's hidden states (`distil.py`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from spartanc.base.files import whole_folder
from spartanc.base.progress import say as say_on_stderr
from spartanc.base.progress import stage
from spartanc.errors import Interrupted, UsageError
from spartanc.models.backbone import Backbone, load_backbone
from spartanc.models.slim.cost import modelled_ms, narrower, shape_of, units_for
from spartanc.models.slim.directory import check_output, write_directory
from spartanc.models.slim.distil import Distilled, DistilSettings, distil
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.judge import probe, read_judging, unexplained
from spartanc.models.slim.narrow import Narrowed, narrow, pool_of
from spartanc.models.slim.page import write_slim_page
from spartanc.models.slim.request import SlimRequest, SlimResult
from spartanc.models.slim.texts import Batch, Texts, batches, read_texts
from spartanc.models.slim.widths import uneven_widths
from spartanc.models.slim.work import begin, can_go_on, identity_of, keep_narrowed, take_narrowed, work_of
from spartanc.models.sparsifiers.catalogue import find_sparsifier
from spartanc.models.sparsifiers.masking import Masking
from spartanc.models.training_work import claimed_work, is_first_process
from spartanc.runtime_py.data.counting import cut_texts
from spartanc.runtime_py.data.reading import data_digest

MOMENT_TOKENS = 24_000  # that second moments are taken from
JUDGING = 0.1  # share of the time that is left for it
REPORT = "slim.json"
PAGE = "slim.html"

Say = Callable[[str], None]


def slim(request: SlimRequest, report: Say | None = None) -> SlimResult:
    """Write a narrower encoder to `request.out`, an ordinary Hugging Face directory, with slim.json and slim.html.

    Raises UsageError for wrong input or a speed that is out of reach, UnsupportedModelError for an encoder that is not
    supported, MissingToolError for a target without figures, GateError where distillation diverges, Interrupted (a
    KeyboardInterrupt) with what is there to go on from.
    """
    say = report or (say_on_stderr if is_first_process() else lambda line: None)
    began = time.monotonic()
    check_output(request.out, request.backbone, request.overwrite)
    backbone = load_backbone(request.backbone)
    refuse_slimmed(backbone)
    dense, slim_one = Encoder(backbone), Encoder(backbone)
    shape = shape_of(dense.classifier.config, backbone.adapter)
    units = units_for(shape, request.target, request.length, request.speedup)
    before, after = (modelled_ms(each, request.target, request.length) for each in (shape, narrower(shape, units)))
    say(f"{units} of {shape.units} units a feed-forward: {before / after:.2f} times as fast on {request.target.name}")
    longest = min(request.length, dense.classifier.max_length())
    texts = read_texts(request.texts, backbone.tokenizer, longest, request.seed)
    say(f"{len(texts.rows):,} texts to learn from, {len(texts.held_out)} held out")
    if (cut := cut_texts(texts.truncated, texts.read, longest)) is not None:
        say(cut)
    judging = [read_judging(path, backbone.tokenizer, longest, request.seed) for path in request.judge]
    for each in judging:
        say(f"{each.path}: {each.why}")
        if (cut := cut_texts(each.truncated, len(each.rows), longest)) is not None:
            say(f"{each.path}: {cut}")
    work = work_of(request.out)
    identity = identity_of(request, backbone.digests(), units, [data_digest(path) for path in request.texts])
    with claimed_work(work, request.out):
        goes_on = begin(work, identity, request.resume, say)
        try:
            if find_sparsifier(request.sparsifier).moves:
                made = distil_with_masks(request, dense, slim_one, units, texts, began, say)
            else:
                made = narrow_then_distil(request, dense, slim_one, units, texts, goes_on, began, say)
        except KeyboardInterrupt as interruption:
            if not can_go_on(work):
                shutil.rmtree(work, ignore_errors=True)
                raise Interrupted("interrupted; nothing was left behind") from interruption
            raise Interrupted(f"interrupted; `{request.out}` was not written", goes_on=True) from interruption
        removed, at_first, distilled = made
        held_out = list(batches(texts.held_out, dense.pad_id))
        result = SlimResult(
            out=str(request.out),
            target=request.target.name,
            length=request.length,
            sparsifier=request.sparsifier,
            units_before=shape.units,
            units=sum(each.units for each in removed) / len(removed),
            removed=tuple(removed),
            parameters_before=sum(tensor.numel() for tensor in dense.tensors().values()),
            parameters=sum(tensor.numel() for tensor in slim_one.tensors().values()),
            modelled_ms_before=before,
            modelled_ms=after,
            modelled_speedup=before / after,
            texts=texts.counts,
            held_out=len(texts.held_out),
            unexplained_at_first=tuple(at_first),
            unexplained=tuple(unexplained(dense, slim_one, held_out)),
            steps=distilled.steps,
            seconds=distilled.seconds,
            losses=distilled.losses,
            judged=tuple(probe(dense, slim_one, each) for each in judging),
        )
        if is_first_process():
            write(request, backbone, slim_one, result)
            shutil.rmtree(work, ignore_errors=True)
    return result


def narrow_then_distil(
    request: SlimRequest,
    dense: Encoder,
    slim_one: Encoder,
    units: int,
    texts: Texts,
    goes_on: bool,
    began: float,
    say: Say,
) -> tuple[list[Narrowed], list[float], Distilled]:
    """Choose once, then train what is left: what went, what that left unexplained, and the distillation."""
    work = work_of(request.out)
    if goes_on:
        removed, at_first = take_narrowed(work, slim_one)
        say("going on from the checkpoint")
    else:
        data = sample(texts.rows, dense.pad_id)
        with stage("share out units") if request.uneven else nullcontext():
            widths = uneven_widths(dense, data, units) if request.uneven else [units] * len(slim_one.feed_forwards())
        removed = narrow(dense, slim_one, widths, find_sparsifier(request.sparsifier), data, say)
        at_first = unexplained(dense, slim_one, list(batches(texts.held_out, dense.pad_id)))
        say(f"{at_first[-1]:.1%} of the last hidden states' variance is unexplained on held-out texts")
        if is_first_process():
            keep_narrowed(work, slim_one, removed, at_first)
    settings = distil_settings(request, began, say)
    return removed, at_first, distil(slim_one, dense, texts.rows, settings, work=work, resume=goes_on, say=say)


def distil_with_masks(
    request: SlimRequest, dense: Encoder, slim_one: Encoder, units: int, texts: Texts, began: float, say: Say
) -> tuple[list[Narrowed], list[float], Distilled]:
    """Train with masks that move, then leave out what they left at zero. Such a run keeps no checkpoints."""
    pairs = slim_one.feed_forwards()
    pools = [pool_of(pair, units) for pair in pairs]
    places = [[(pair.second, "weight")] for pair in pairs]
    masking = Masking(find_sparsifier(request.sparsifier), pools, places)
    distilled = distil(slim_one, dense, texts.rows, distil_settings(request, began, say), masking, say=say)
    removed = []
    for pair, kept_U in zip(pairs, masking.finish(), strict=True):
        removed.append(Narrowed(pair.name, pair.units, int(kept_U.sum()), None))
        pair.narrow(kept_U)
    return removed, [], distilled


def distil_settings(request: SlimRequest, began: float, say: Say) -> DistilSettings:
    """Distillation takes the time that is left, less what the judgement needs."""
    left = max(0.0, request.minutes * 60 * (1 - JUDGING) - (time.monotonic() - began))
    say("distilling, " + (f"{request.steps} steps" if request.steps is not None else f"{left / 60:.1f} minutes"))
    return DistilSettings(left, request.steps, seed=request.seed, precision=request.precision)


def sample(rows: Sequence[list[int]], pad_id: int) -> list[Batch]:
    """The first of the shuffled rows, up to `MOMENT_TOKENS`."""
    chosen: list[list[int]] = []
    tokens = 0
    for row in rows:
        if tokens >= MOMENT_TOKENS:
            break
        chosen.append(row)
        tokens += len(row)
    return list(batches(chosen, pad_id))


def refuse_slimmed(backbone: Backbone) -> None:
    """Slimming twice would be judged against an encoder that has lost something already."""
    if "slimmed" in backbone.config:
        raise UsageError(
            f"`{backbone.directory}` was slimmed already", hint="slim the encoder that it was made from, by more"
        )


def write(request: SlimRequest, backbone: Backbone, slim_one: Encoder, result: SlimResult) -> None:
    """The directory, whole or not at all."""
    slimmed = {"from": backbone.digests(), "units_before": result.units_before, "sparsifier": request.sparsifier}
    try:
        with whole_folder(request.out) as folder:
            write_directory(folder, backbone, slim_one, slimmed)
            (folder / REPORT).write_text(json.dumps(result.as_json(), indent=1) + "\n", encoding="utf-8")
            write_slim_page(folder / PAGE, result)
    except OSError as error:
        raise UsageError(f"cannot write `{request.out}`: {error}", hint="is there room?") from error
