"""Write models whose options the others leave as they are, and their hidden states by transformers.

    python tests/golden/variants.py        # needs torch, transformers, safetensors

wavlm_large: WavLM Large's form, norms before the sub-layers. group_bias: a norm over time whose convolutions have biases. Both have
an odd number of positional taps, and an epsilon of the norms that shows. NAME_hidden.safetensors has the states of layers 0 to 2
for three lengths; the last of wavlm_large is behind the final norm.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

HERE = Path(__file__).parent
SHAPE = dict(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
    conv_dim=(16, 16, 12, 12, 12, 16, 20), conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2),
    num_conv_pos_embeddings=15, num_conv_pos_embedding_groups=4, initializer_range=0.2, layer_norm_eps=0.01, conv_bias=True,
    hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0, layerdrop=0.0)


def write(name, model, normalize):
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    model.save_pretrained(HERE / name)
    Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(HERE / name)
    model = model.double().eval()
    tensors = {}
    for length in (400, 4000, 5999):
        audio = 0.3 * torch.randn(length)
        row = audio.double()[None]
        if normalize:
            row = (row - row.mean()) / (row.var(unbiased=False) + 1e-7).sqrt()
        with torch.no_grad():
            output = model(row, output_hidden_states=True)
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        tensors[f"{length}/audio"] = audio
        tensors |= {f"{length}/hf/{layer}": state[0].float().contiguous() for layer, state in enumerate(states)}
    save_file(tensors, HERE / f"{name}_hidden.safetensors")


def main():
    torch.manual_seed(31)
    large = WavLMConfig(feat_extract_norm="layer", do_stable_layer_norm=True, num_buckets=16, max_bucket_distance=40, **SHAPE)
    large._attn_implementation = "eager"
    write("wavlm_large", WavLMModel(large), True)
    group = HubertConfig(feat_extract_norm="group", **SHAPE)
    group._attn_implementation = "eager"
    write("group_bias", HubertModel(group), False)


main()
