#!/bin/sh
# transformers 5.24.0: DeBERTa-v2's tokenizer, made from spm.model, leaves out the model's normalisation.
#
# Guessed: a tokenizer made from a SentencePiece model gives SentencePiece's pieces, as XLM-RoBERTa's does: the model file
# holds a map of characters (nmt_nfkc, the default of its trainer), and both read the same file.
# Seen: DebertaV2Tokenizer composes characters (NFC) and never reads the map. Full-width letters and ligatures stay as they
# are: other pieces, single characters, or unknown tokens. XLMRobertaTokenizer reads the map of the same file.
# Matters for directories that have spm.model and no tokenizer.json, DeBERTa-v3's published form: a model that was trained
# on SentencePiece's pieces gets others for the same text, and nothing is said.
#
# Output seen (x86-64, transformers 5.24.0, sentencepiece 0.2.3):
#   sentencepiece:        ▁full ▁wid t h ▁f i v e ▁ t o k e n s
#   XLMRobertaTokenizer:  ▁full ▁wid t h ▁f i v e ▁ t o k e n s
#   DebertaV2Tokenizer:   ▁ ｆｕｌｌ ▁wid t h ▁ ﬁ v e ▁ t o k e n s
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 sentencepiece==0.2.3 protobuf
cd "$folder"
venv/bin/python -W ignore - 2>log <<'PYTHON' || { status=$?; tail -n 5 log >&2; exit $status; }
import shutil
import sys
from pathlib import Path

import sentencepiece
import transformers
from transformers import DebertaV2Tokenizer, XLMRobertaTokenizer

print("transformers", transformers.__version__, "sentencepiece", sentencepiece.__version__)
WORDS = ["full", "width", "five", "tokens", "live", "wide"]
TEXT = "ｆｕｌｌ width ﬁve tokens"
lines = [" ".join(WORDS[(first * step) % len(WORDS)] for step in range(1, 7)) for first in range(300)]
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines), model_prefix="spm", vocab_size=30, minloglevel=2, hard_vocab_limit=False,
    pad_id=0, pad_piece="[PAD]", bos_id=1, bos_piece="[CLS]", eos_id=2, eos_piece="[SEP]", unk_id=3, unk_piece="[UNK]",
)
wanted = sentencepiece.SentencePieceProcessor(model_file="spm.model").encode(TEXT, out_type=str)
found = {}
for tokenizer, name in ((XLMRobertaTokenizer, "sentencepiece.bpe.model"), (DebertaV2Tokenizer, "spm.model")):
    folder = Path(tokenizer.__name__)
    folder.mkdir()
    shutil.copy("spm.model", folder / name)
    found[tokenizer.__name__] = tokenizer.from_pretrained(folder).tokenize(TEXT)
for name, pieces in {"sentencepiece": wanted, **found}.items():
    print(f"{name + ':':21} {' '.join(pieces)}")
sys.exit(0 if found["XLMRobertaTokenizer"] == wanted != found["DebertaV2Tokenizer"] else 1)
PYTHON
