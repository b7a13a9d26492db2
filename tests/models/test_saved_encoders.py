"""Every encoder's directory as transformers saves it, with the encoder's own states as reference."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from spartanc.errors import SpartancError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.choose_pooling import choose_pooling
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.memory import SpartanConfig
from spartanc.models.pooling import pool
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import save_encoder, sentiment, write_examples
from support.models import ARCHITECTURES, DEBERTA_LAYOUTS, last_states, tiny_encoder_config, tiny_model

MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)


@pytest.mark.parametrize(("masked", "shard"), [(False, "1GB"), (True, "20KB")])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_transformers_saved_is_loaded_and_computes_the_same_states(architecture, masked, shard, tmp_path):
    if architecture == "electra" and masked:
        pytest.skip("a generator, which is another encoder than the discriminator that is loaded")
    directory = save_encoder(tmp_path / "encoder", architecture, masked, shard)
    assert (len(list(directory.glob("*.safetensors"))) > 1) == (shard == "20KB")
    check_states(directory)


def check_states(directory):
    """Of a text alone and of one that is padded, against transformers' encoder on each text alone; memories that give
    nothing. With padding it gives the same, save for MobileBERT's, which mixes a row of padding into the last token's.
    """
    classifier = build_classifier(load_backbone(directory), MEMORY, 2, False, "mean").eval()
    ids = torch.randint(4, 40, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    theirs = AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        alone = [theirs(row[kept][None]).last_hidden_state[0] for row, kept in zip(ids, mask.bool(), strict=True)]
        for memory in classifier.memories():
            memory.values.zero_()
    got = last_states(classifier, ids, mask)
    expected = torch.cat(alone)
    assert expected.std() > 0.1
    torch.testing.assert_close(got[mask.bool()], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", DEBERTA_LAYOUTS)
def test_every_layout_of_deberta_is_loaded(layout, tmp_path):
    directory = save_encoder(tmp_path / "encoder", "deberta-v2", masked=True, **DEBERTA_LAYOUTS[layout])
    check_states(directory)


def test_training_gives_every_application_of_a_layer_a_memory_and_leaves_its_weights(tmp_path):
    encoder = save_encoder(tmp_path / "encoder", "albert", layers=3, shard="20KB")
    data = write_examples(tmp_path / "train.jsonl", sentiment(40, 1))
    settings = TrainSettings(epochs=1)
    request = TrainRequest(encoder, data, data, tmp_path / "model.pt", settings, adapt=False, spartan=MEMORY)
    result = train(request)
    assert result.pooling == "pooler"
    state = torch.load(tmp_path / "model.pt", weights_only=True)["state"]
    layers = "network.albert.encoder.albert_layer_groups"
    values = [state[f"{layers}.{index}.memory.values"] for index in range(3)]
    assert all(values[0].shape == each.shape and not torch.equal(values[0], each) for each in values[1:])
    assert [name for name in state if name.endswith("ffn.weight")] == [f"{layers}.0.layer.albert_layers.0.ffn.weight"]
    before = load_backbone(encoder).tensors["albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"]
    assert torch.equal(state[f"{layers}.0.layer.albert_layers.0.ffn.weight"], before)


def test_a_layer_that_is_applied_again_is_one_module_in_copies_too():
    module = tiny_model("albert", layers=3).module
    layers = list(module.layers())
    assert layers[0].layer is layers[1].layer is layers[2].layer
    alone = tiny_model("albert", layers=1).module
    memory = sum(parameter.numel() for parameter in module.memories()[0].parameters())
    sizes = [sum(parameter.numel() for parameter in each.parameters()) for each in (module, alone)]
    assert sizes[0] - sizes[1] == 2 * memory


def test_an_encoder_cut_to_fewer_applications_keeps_its_layer(tmp_path):
    backbone = load_backbone(save_encoder(tmp_path / "encoder", "albert", layers=4), layers=2)
    assert len(build_classifier(backbone, MEMORY, 2, False, "mean").memories()) == 2


@pytest.mark.parametrize("changed", ["num_hidden_groups", "inner_group_num"])
def test_other_ways_of_sharing_layers_are_refused(changed):
    with pytest.raises(SpartancError, match=f"`{changed}` `2` is not supported") as caught:
        SpartanClassifier(tiny_encoder_config("albert") | {changed: 2}, MEMORY)
    assert caught.value.exit_code == 3


def test_a_pooler_of_one_linear_that_was_never_trained_is_found_out(tmp_path):
    directory = save_encoder(tmp_path / "encoder", "albert")
    tensors = load_file(directory / "model.safetensors")
    tensors["pooler.bias"].zero_()
    save_file(tensors, directory / "model.safetensors")
    data = write_examples(tmp_path / "train.jsonl", sentiment(24, 1))
    settings = TrainSettings(epochs=1)
    request = TrainRequest(directory, data, data, tmp_path / "model.pt", settings, adapt=False, spartan=MEMORY)
    lines = []
    assert train(request, lines.append).pooling == "mean"
    assert "the checkpoint's pooler was never trained" in "\n".join(lines)


def test_the_head_of_a_masked_language_model_is_loaded_where_hugging_face_loads_it(tmp_path):
    directory = save_encoder(tmp_path / "encoder", "modernbert", masked=True)
    backbone = load_backbone(directory)
    assert choose_pooling(backbone, "auto").pooling == "pooler"
    theirs = AutoModelForSequenceClassification.from_pretrained(directory).head.state_dict()
    mine = build_classifier(backbone, MEMORY, 2, False).network.head.state_dict()
    assert theirs["dense.weight"].std() > 0.1
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())
    assert choose_pooling(load_backbone(directory, layers=1), "auto").pooling == "mean"
    alone = load_backbone(save_encoder(tmp_path / "alone", "modernbert"))
    assert choose_pooling(alone, "auto").pooling == "mean"
    build_classifier(alone, MEMORY, 2, False)  # whose head is new


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernberts_own_head_pools_as_its_config_says(pooling):
    config = tiny_encoder_config("modernbert") | {"classifier_pooling": pooling}
    module = SpartanClassifier(config, MEMORY).eval()
    ids, mask = torch.randint(4, 40, (2, 9)), torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    pooled = pool(last_states(module, ids, mask), mask, pooling)
    expected = module.network.classifier(module.network.head(pooled))
    torch.testing.assert_close(module(ids, mask), expected, rtol=0, atol=1e-5)


def test_an_encoder_cut_to_fewer_layers_keeps_their_windows(tmp_path):
    directory = save_encoder(tmp_path / "encoder", "modernbert", layers=4)
    whole = build_classifier(load_backbone(directory), MEMORY, 2, False, "mean")
    cut = build_classifier(load_backbone(directory, layers=2), MEMORY, 2, False, "mean")
    kinds = [[layer.attention_type for layer in each.layers()] for each in (whole, cut)]
    assert kinds[1] == kinds[0][:2] == ["full_attention", "sliding_attention"]


def test_nothing_may_normalise_a_stream_of_residuals():
    with pytest.raises(SpartancError, match="does not go with `modernbert`") as caught:
        SpartanClassifier(tiny_encoder_config("modernbert"), SpartanConfig(4, 8, 2, layer_norm="post"))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("architecture", ["modernbert", "nomic_bert"])
def test_positions_that_depend_on_the_length_are_refused(architecture):
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    by_layer = {"full_attention": dynamic, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    given = {"rope_parameters": by_layer if architecture == "modernbert" else dynamic}
    with pytest.raises(SpartancError, match="`rope_type` `dynamic` are not supported") as caught:
        SpartanClassifier(tiny_encoder_config(architecture) | given, MEMORY)
    assert caught.value.exit_code == 3
