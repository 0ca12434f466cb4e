"""Write formats/lighthubert_*.pt and lighthubert.safetensors by LightHuBERT's own code.

    python tests/golden/lighthubert.py LIGHTHUBERT     # a checkout of mechanicalsea/lighthubert; torch

A head has one channel here, of which the code has 64 as a constant; widths are divided by 64 like it. Checkpoints have the
keys of those that are published.
"""

import re
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
NARROWER = 64


def package(checkout):
    """Imports the code with heads of one channel."""
    copy = Path(tempfile.mkdtemp())
    for path in sorted((Path(checkout) / "lighthubert").rglob("*.py")):
        target = copy / path.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"\* 64\b", "* 1", path.read_text()))
    sys.path.insert(0, str(copy))
    import lighthubert

    return lighthubert


def narrow(subnet):
    widths = {"embed_dim": subnet["embed_dim"] // NARROWER, "ffn_embed": [n // NARROWER for n in subnet["ffn_embed"]]}
    return subnet | widths | {"atten_dim": subnet["heads_num"]}


def main():
    code = package(sys.argv[1])
    config_class = code.lighthubert.LightHuBERTSupernetConfig
    for name in ("subnet", "max_subnet", "min_subnet"):
        whole = getattr(config_class, name).fget
        setattr(config_class, name, property(lambda self, whole=whole: narrow(whole(self))))
    states = {}
    audio = load_file(HERE / "base_hidden.safetensors")
    for name, kind, size, heads in (
        ("base", "hubert_pruner", "Base", 12), ("small", "hubert_pruner", "Small", 8), ("stage1", "student_hubert", "", 12)):
        torch.manual_seed(heads)
        keys = {
            "_name": kind, "extractor_mode": "default", "encoder_layers": 12, "encoder_embed_dim": heads,
            "encoder_ffn_embed_dim": 4 * heads, "encoder_attention_heads": heads, "conv_pos": 8, "conv_pos_groups": 2,
            "conv_feature_layers": "[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] + [(9,2,2)]", "teacher_embed_dim": 6,
            "mask_prob": 0.65, "layer_norm_first": False}
        keys |= {"pruner_supernet": f"/blob/supernet/Supernet-{size}.yaml"} if size else {}
        config = code.LightHuBERTConfig(keys)
        config.supernet_type = size.lower() or "base"
        model = code.LightHuBERT(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn_like(weight)
                weight.copy_(weight.half())
        subnet = model.supernet.subnet if size else model.supernet.max_subnet
        model.set_sample_config(subnet)
        cfg = {"model": keys, "task": {"normalize": False}}
        half = {key: tensor.half() for key, tensor in model.state_dict().items()}
        path = HERE / f"formats/lighthubert_{name}.pt"
        # The older container is the smaller one.
        torch.save({"args": None, "cfg": cfg, "model": half}, path, _use_new_zipfile_serialization=False)
        for n in (400, 5999):
            with torch.no_grad():
                hidden = model.extract_features(audio[f"{n}/audio"][None], ret_hs=True)[0]
            for layer in (0, 1, 12):  # 0 is the output of the feature projection
                states[f"{name}/{n}/{layer}"] = hidden[layer][0].contiguous().clone()
    save_file(states, HERE / "lighthubert.safetensors")


if __name__ == "__main__":
    main()
