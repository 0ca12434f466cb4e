"""What the scripts of students share: parts of fairseq without its training, weights, and folders of models."""

import ast
import importlib
import json
import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent


def stub(name, path=None, **members):
    """Adds a module with these members, and a package of the files in `path` if it is given."""
    module = sys.modules[name] = types.ModuleType(name)
    if path:
        module.__path__ = [str(path)]
    vars(module).update(members)
    return module


def softmax(x, dim, onnx_trace=False):
    """fairseq's softmax, which computes in f32, in the type of its input."""
    return F.softmax(x, dim=dim)


def load_fairseq(path):
    """Adds the modules of a checkout of fairseq that students need; they compute in the type of their inputs."""
    stub("fairseq", f"{path}/fairseq")
    stub("fairseq.dataclass", FairseqDataclass=object)
    stub("fairseq.models", BaseFairseqModel=nn.Module).__path__ = []
    incremental = importlib.import_module("fairseq.incremental_decoding_utils").with_incremental_state

    @incremental
    class Decoder(nn.Module):
        def __init__(self, dictionary):
            super().__init__()

    stub("fairseq.models.fairseq_incremental_decoder", FairseqIncrementalDecoder=Decoder)
    modules = stub("fairseq.modules", f"{path}/fairseq/modules", RelPositionalEncoding=None)
    for file, names in {
        "layer_norm": ["LayerNorm", "Fp32LayerNorm"], "fp32_group_norm": ["Fp32GroupNorm"], "grad_multiply": ["GradMultiply"],
        "same_pad": ["SamePad"], "gelu": ["gelu", "gelu_accurate"], "transpose_last": ["TransposeLast"],
        "multihead_attention": ["MultiheadAttention"],
    }.items():
        for name in names:
            setattr(modules, name, getattr(importlib.import_module(f"fairseq.modules.{file}"), name))
    stub("fairseq.modules.conformer_layer", ConformerWav2Vec2EncoderLayer=None)
    # Weights are drawn by `draw`.
    stub("fairseq.modules.transformer_sentence_encoder", init_bert_params=lambda module: None)
    stub("fairseq.modules.checkpoint_activations", checkpoint_wrapper=lambda module: module)
    importlib.import_module("fairseq.utils").softmax = softmax
    keep_type(modules.Fp32GroupNorm, modules.Fp32LayerNorm)


def keep_type(*norms):
    """Lets norms that compute in f32 compute in the type of their inputs."""
    for norm in norms:
        norm.forward = norm.__mro__[1].forward


def draw(model, seed):
    """Draws weights that f32 holds."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = 0.3 * torch.randn(parameter.shape, dtype=torch.float32)
            parameter.copy_(drawn.double() + (1.0 if name.endswith("norm.weight") or ".0.2.weight" in name else 0.0))
            if name.endswith("weight_g"):
                parameter.abs_()
    return model.eval().double()


def hugging_face(name, tensor):
    """Our name and form of a student's tensor."""
    if name == "mask_emb":
        return "masked_spec_embed", tensor
    if name.startswith("layer_norm."):
        return "feature_projection." + name, tensor
    if name.startswith("post_extract_proj."):
        return name.replace("post_extract_proj", "feature_projection.projection"), tensor
    if name.startswith("feature_extractor.conv_layers."):
        *_, layer, rest = name.split(".", 3)[2:3] + [name.split(".", 3)[3]]
        rest = rest.replace("0.weight", "conv.weight") if rest.startswith("0.") else rest.replace("2.", "layer_norm.", 1)
        return f"feature_extractor.conv_layers.{layer}.{rest}", tensor
    name = name.replace("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv.")
    name = name.replace("self_attn_layer_norm", "layer_norm").replace("self_attn", "attention")
    name = name.replace("fc1", "feed_forward.intermediate_dense").replace("fc2", "feed_forward.output_dense")
    return name, tensor


def save(path, tensors):
    save_file({k: torch.as_tensor(v).detach().float().contiguous().clone() for k, v in tensors.items()}, HERE / path)


def write_folder(name, tensors, **keys):
    """Writes a model's folder."""
    (HERE / name).mkdir(exist_ok=True)
    (HERE / name / "config.json").write_text(json.dumps(keys, indent=1) + "\n")
    save(f"{name}/model.safetensors", tensors)


def function(path, name, scope):
    """Returns a function or method of a file that is not imported, as a function of what it takes."""
    tree = ast.parse(Path(path).read_text())
    code = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
    exec(compile(ast.Module([code], []), str(path), "exec"), scope)
    return scope[name]
