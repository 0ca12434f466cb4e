"""Write formats/diarizen/, a small diarization model as DiariZen saves one, and the states of its WavLM.

    python tests/golden/diarizen.py DIARIZEN        # needs torch, safetensors

DIARIZEN is a checkout of BUTSpeechFIT/DiariZen. config.toml names the file that the training began with, from which
only `config` is needed; pytorch_model.bin has the trained tensors, and those of the parts behind the WavLM by name.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
OUT = HERE / "formats/diarizen"
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
WIDTHS = (5, 8, 7, 8, 6, 8, 3)

CONFIG = """\
[meta]
save_dir = "exp"
seed = 3407

[model]
path = "diarizen.models.eend.model_wavlm_conformer.Model"
[model.args]
wavlm_src = "/data/exp/s80/pruned.pt"
wavlm_layer_num = 4
wavlm_feat_dim = 16

[inference.args]
seg_duration = 16
apply_median_filtering = true

[clustering.args]
method = "VBxClustering"
ahc_threshold = 0.6
"""


def main():
    sys.path.insert(0, str(Path(sys.argv[1]) / "diarizen/models/module"))
    from wav2vec2.model import wav2vec2_model

    torch.manual_seed(8)
    config = dict(
        extractor_mode="group_norm", extractor_conv_layer_config=list(zip(WIDTHS, KERNELS, STRIDES)),
        extractor_conv_bias=False, encoder_embed_dim=16, encoder_projection_dropout=0.1, encoder_pos_conv_kernel=8,
        encoder_pos_conv_groups=2, encoder_num_layers=3, encoder_use_attention=[True, False, True],
        encoder_use_feed_forward=[True, True, False], encoder_total_num_heads=[4, 4, 4],
        encoder_remaining_heads=[[1, 3], [], [0, 1, 2]], encoder_num_buckets=16, encoder_max_distance=40,
        encoder_attention_dropout=0.1, encoder_ff_interm_features=[9, 5, 20], encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.1, encoder_layer_norm_first=False, encoder_layer_drop=0.05, aux_num_out=None,
        normalize_waveform=True, extractor_prune_conv_channels=False, encoder_prune_attention_heads=False,
        encoder_prune_attention_layer=False, encoder_prune_feed_forward_intermediate=False,
        encoder_prune_feed_forward_layer=False, use_layerwise_prune=False)
    model = wav2vec2_model(**config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    OUT.mkdir(exist_ok=True)
    (OUT / "config.toml").write_text(CONFIG)
    torch.save({"config": config, "state_dict": {}}, OUT / "pruned.pt")
    behind = {"weight_sum.weight": torch.randn(1, 4), "proj.weight": torch.randn(4, 16),
              "conformer.conformer_layer.0.ffn1.w_1.weight": torch.randn(2, 4), "classifier.bias": torch.randn(3)}
    tensors = {f"wavlm_model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({**tensors, **behind}, OUT / "pytorch_model.bin")

    model.double()
    states = {}
    for n in (400, 5999):
        audio = load_file(HERE / "base_hidden.safetensors")[f"{n}/audio"].double()
        with torch.no_grad():
            for layer, state in enumerate(model.extract_features(audio[None])[0]):
                states[f"{n}/{layer}"] = state[0].float().contiguous()
    save_file(states, HERE / "diarizen.safetensors")


main()
