"""Small models with random weights, one for every architecture, and a small tokenizer."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from spartanc.models.checkpoint import TrainedModel, find_segment_separator
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.encoders.registry import ADAPTERS
from spartanc.models.memory import SpartanConfig

ARCHITECTURES = tuple(ADAPTERS)
# Of architectures that compute the same one is enough where a test takes seconds.
UNLIKE_EACH_OTHER = tuple(each for each in ARCHITECTURES if each not in ("camembert", "xlm-roberta"))
GATED = tuple(each for each, adapter in ADAPTERS.items() if adapter.feed_forward_is_gated)
STACKED = tuple(each for each, adapter in ADAPTERS.items() if adapter.feed_forwards_are_stacked)
LONGEST = 40
# What of a config is neither BERT's nor follows from the adapter.
UNLIKE_BERT = {
    "albert": {"embedding_size": 16},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "electra": {"embedding_size": 16},
    "ernie": {"use_task_id": True},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16},
    # Two layers are one of each kind, and a text is longer than the window.
    "modernbert": {"local_attention": 12, "pad_token_id": 0},
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
}
# DeBERTa's other layouts, as changes to the one above: those of v2 before its xlarge, and that one's convolution.
DEBERTA_LAYOUTS = {
    "own projections": {"share_att_key": False},
    "to keys alone": {"pos_att_type": "c2p", "share_att_key": False},
    "to queries alone": {"pos_att_type": ["p2c"], "share_att_key": False},
    "no buckets": {"position_buckets": -1, "max_relative_positions": 12, "norm_rel_ebd": "none"},
    "absolute positions": {"position_biased_input": True, "type_vocab_size": 2},
    "no relative positions": {"relative_attention": False, "position_biased_input": True},
    "convolution": {"conv_kernel_size": 3, "conv_act": "gelu"},
}
WORDS = [
    "where",
    "is",
    "the",
    "card",
    "i",
    "lost",
    "my",
    "when",
    "will",
    "it",
    "arrive",
    "what",
    "a",
    "good",
    "film",
    "bad",
    "dull",
    "great",
    "boring",
    "loved",
    "hated",
    "this",
    "that",
    "who",
    "when",
    "how",
    "many",
    "people",
    "live",
    "in",
    "city",
    "river",
    "capital",
    "of",
    "long",
    "tall",
    "mountain",
    "was",
    "born",
    "why",
    "does",
    "rain",
    "fall",
]


def tiny_tokenizer(like_roberta: bool = False) -> str:
    """Words of `WORDS` by whitespace; BERT's [CLS] a [SEP] b [SEP] with segments, or <s> a </s></s> b
    </s>.
    """
    special = ["<s>", "<pad>", "</s>", "<unk>"] if like_roberta else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {token: index for index, token in enumerate([*special, *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[3] if like_roberta else special[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if like_roberta:
        single, pair, tokens = "<s> $A </s>", "<s> $A </s> </s> $B </s>", ["<s>", "</s>"]
    else:
        single, pair, tokens = "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, vocabulary[token]) for token in tokens]
    )
    return tokenizer.to_str()


def roberta_like(architecture: str) -> bool:
    """Whether positions are counted from the padding id, 1, on, and the tokenizer writes <s> and </s>."""
    return _unused_positions(architecture) > 0


def _unused_positions(architecture: str) -> int:
    given = SimpleNamespace(max_position_embeddings=LONGEST, pad_token_id=1)
    return LONGEST - ADAPTERS[architecture].max_length(given)


def tiny_encoder_config(architecture: str, layers: int = 2, hidden: int = 32, outputs: int = 3, heads: int = 4) -> dict:
    """A Hugging Face config of `architecture` with a vocabulary of 64 and inputs of up to 40 tokens."""
    common = {"model_type": architecture, "vocab_size": 64, "num_labels": outputs}
    if architecture == "distilbert":
        return common | {
            "dim": hidden,
            "n_layers": layers,
            "n_heads": heads,
            "hidden_dim": 2 * hidden,
            "max_position_embeddings": LONGEST,
        }
    config = common | {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": LONGEST + _unused_positions(architecture),
        "pad_token_id": int(roberta_like(architecture)),
    }
    return config | UNLIKE_BERT.get(architecture, {})


def tiny_model(
    architecture: str = "bert",
    *,
    layers: int = 2,
    hidden: int = 32,
    heads: int = 4,
    labels: tuple[str, ...] = ("a", "b", "c"),
    problem: str = "classification",
    thresholds: tuple[float, ...] = (),
    spartan: SpartanConfig | None = None,
    seed: int = 0,
    pooling: str = "pooler",
    changes: dict | None = None,
) -> TrainedModel:
    """A model of `architecture` whose memories are large enough to change its logits visibly.

    changes: to the encoder's config.
    """
    spartan = spartan or SpartanConfig(parents=4, cells=12, top_k=2, temperature=1.6)
    labels = () if problem == "regression" else labels
    config = tiny_encoder_config(architecture, layers, hidden, max(1, len(labels)), heads) | (changes or {})
    tokenizer = tiny_tokenizer(roberta_like(architecture))
    torch.manual_seed(seed)
    module = SpartanClassifier(config, spartan, find_segment_separator(tokenizer, config), pooling).eval()
    with torch.no_grad():
        for memory in module.memories():
            for parameter in (memory.parents, memory.keys, memory.values):
                parameter.normal_(std=0.5)
        for name, parameter in module.network.named_parameters():
            if parameter.dim() == 2 and ".memory." not in name:
                parameter.normal_(std=0.1)
        draw_affine(module.network)
    return TrainedModel(module, config, spartan, tokenizer, tuple(labels), problem, thresholds=thresholds)


def draw_affine(network: torch.nn.Module) -> None:
    """Factors and addends of MobileBERT, where others have LayerNorms, drawn in place.

    Factors keep states about as large in every layer, as training does: with ones they would grow, and what texts
    differ in would be lost among them.
    """
    for name, module in network.named_modules():
        if type(module).__name__ == "NoNorm":
            least, most = (2.5, 3.5) if "embeddings" in name else (0.5, 0.9)
            module.weight.uniform_(least, most)
            module.bias.normal_(std=0.2)


def last_states(module: SpartanClassifier, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The encoder's result [B, L, H]: the last memory's, through the LayerNorm that ModernBERT has behind it."""
    states = module.trace(ids, mask).hidden_states[-1]
    encoder = module.network.get_submodule(module.adapter.base)
    with torch.no_grad():
        return encoder.final_norm(states) if module.adapter.norm_comes_first else states
