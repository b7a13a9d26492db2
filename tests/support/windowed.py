"""A small encoder with a sliding window: transformers' ModernBERT with random weights, without memories."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ModernBertConfig, ModernBertForSequenceClassification


class Windowed(nn.Module):
    """Two layers, one of global attention and one that sees `reach` positions to either side."""

    def __init__(self, reach: int):
        super().__init__()
        config = ModernBertConfig(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            global_attn_every_n_layers=2,
            num_attention_heads=4,
            max_position_embeddings=40,
            local_attention=2 * reach,
            pad_token_id=0,
            num_labels=3,
        )
        config._attn_implementation = "eager"
        torch.manual_seed(0)
        self.network = ModernBertForSequenceClassification(config)
        with torch.no_grad():
            for parameter in self.network.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(std=0.2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network(input_ids=input_ids, attention_mask=attention_mask).logits
