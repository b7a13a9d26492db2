#!/bin/sh
# transformers 5.24.0: MobileBERT reads what stands at masked positions.
#
# Guessed: ids whose attention_mask is 0 change nothing, as with BERT: a text padded in a batch gets the states that it gets
# alone.
# Seen: a token's embedding is made of its neighbours' rows too, and no mask is read there: the last token of a text gets the
# row of whatever follows it. By default that is the padding's, a row of zeros as padding_idx makes it, so nothing shows;
# with any other id there, or a row that was written to, all states of the text move.
# Matters for runtimes that pad inputs to a fixed length, with an id of their own, and for checkpoints whose padding row is
# not zero: the same text then answers differently by the company it is batched with.
#
# Output seen (x86-64, torch 2.13.0+cpu, transformers 5.24.0), largest difference in the states of a text of 5 tokens:
#   bert: ids 0 masked 5e-07, ids 7 masked 5e-07
#   mobilebert: ids 0 masked 2e-09, ids 7 masked 0.004
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q transformers==5.24.0
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { status=$?; tail -n 5 "$folder/log" >&2; exit $status; }
import sys

import torch
import transformers
from transformers import BertConfig, BertModel, MobileBertConfig, MobileBertModel

SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
torch.manual_seed(0)
BERT = BertModel(BertConfig(**SMALL))
MOBILEBERT = MobileBertModel(MobileBertConfig(**SMALL, embedding_size=16, intra_bottleneck_size=16))


@torch.no_grad()
def moved(model, masked_id):
    """The largest difference of a text's states with three masked ids behind it from those without."""
    text = torch.tensor([[4, 9, 13, 21, 5]])
    padded = torch.nn.functional.pad(text, [0, 3], value=masked_id)
    mask = (torch.arange(8) < 5).long()[None]
    alone = model(text).last_hidden_state
    return float((model(padded, attention_mask=mask).last_hidden_state[:, :5] - alone).abs().max())


print("torch", torch.__version__, "transformers", transformers.__version__)
found = {}
for name, model in (("bert", BERT.eval()), ("mobilebert", MOBILEBERT.eval())):
    found[name] = [moved(model, masked_id) for masked_id in (0, 7)]
    print(f"{name}: ids 0 masked {found[name][0]:.1g}, ids 7 masked {found[name][1]:.1g}")
same = 1e-5
as_described = max(found["bert"]) < same and found["mobilebert"][0] < same and found["mobilebert"][1] > 1e-3
sys.exit(0 if as_described else 1)
PYTHON
