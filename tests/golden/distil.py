"""Write the golden files of ARMHuBERT, FitHuBERT, DistilHuBERT's heads and STaRHuBERT on tiny models.

    python tests/golden/distil.py ARMHUBERT FAIRSEQ

ARMHUBERT is a checkout of https://github.com/sungnyun/ARMHuBERT, FAIRSEQ one of https://github.com/facebookresearch/fairseq;
both are imported, not copied. Students, their heads and the masking loss are the checkout's own classes; STaRHuBERT's losses,
of which no code is public, are transcribed here in float64 from methods' formulas. README.md lists the keys.
"""

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
ARM, FAIRSEQ = sys.argv[1:]
LAYERS, WIDTH, HEADS, INNER, TARGET = 4, 16, 4, 20, 24
CONV = f"[(16, 10, 5)] + [(16, 1, 1)] + [(16, 3, 2)] * 4 + [({WIDTH}, 1, 1)] + [({WIDTH}, 2, 2)] * 2"
ROWS = {"a": 4000, "b": 5999}
torch.manual_seed(5)
torch.set_default_dtype(torch.float64)


# The checkouts, without what they need for training on a cluster.

def stub(name, **members):
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(members)
    return module


stub("fairseq").__path__ = [f"{FAIRSEQ}/fairseq"]
stub("fairseq.dataclass", FairseqDataclass=object)
stub("fairseq.models", BaseFairseqModel=nn.Module).__path__ = []
incremental = importlib.import_module("fairseq.incremental_decoding_utils").with_incremental_state


@incremental
class Decoder(nn.Module):
    def __init__(self, dictionary):
        super().__init__()


stub("fairseq.models.fairseq_incremental_decoder", FairseqIncrementalDecoder=Decoder)
modules = stub("fairseq.modules", RelPositionalEncoding=None)
modules.__path__ = [f"{FAIRSEQ}/fairseq/modules"]
for file, names in {
    "layer_norm": ["LayerNorm", "Fp32LayerNorm"], "fp32_group_norm": ["Fp32GroupNorm"], "grad_multiply": ["GradMultiply"],
    "same_pad": ["SamePad"], "gelu": ["gelu", "gelu_accurate"], "transpose_last": ["TransposeLast"], "multihead_attention": ["MultiheadAttention"],
}.items():
    for name in names:
        setattr(modules, name, getattr(importlib.import_module(f"fairseq.modules.{file}"), name))
stub("fairseq.modules.conformer_layer", ConformerWav2Vec2EncoderLayer=None)
stub("fairseq.modules.transformer_sentence_encoder", init_bert_params=lambda module: None)  # weights are drawn below
stub("fairseq.modules.checkpoint_activations", checkpoint_wrapper=lambda module: module)
sys.path.insert(0, ARM)
from models.armhubert import model as arm, reusing_module  # noqa: E402
from models.starhubert import model as star  # noqa: E402

# Both softmaxes of fairseq compute in f32 whatever the input's type.
softmax = lambda x, dim, onnx_trace=False: F.softmax(x, dim=dim)  # noqa: E731
importlib.import_module("fairseq.utils").softmax = softmax
real_utils = reusing_module.utils
for norm in (modules.Fp32GroupNorm, modules.Fp32LayerNorm):
    base = norm.__mro__[1]
    norm.forward = base.forward

tree = ast.parse(Path(ARM, "train.py").read_text())
loss_code = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "calculate_loss")
scope = {"torch": torch, "F": F}
exec(compile(ast.Module([loss_code], []), "train.py", "exec"), scope)


def reused_twice(twice):
    """A layer that reuses a map normalises it again (as released), or takes it as it is (as the paper says)."""
    once = lambda x, dim, onnx_trace=False: x  # noqa: E731
    reusing_module.utils = types.SimpleNamespace(**{**vars(real_utils), "softmax": softmax if twice else once})


def student(classes, seed, **options):
    config = classes.CustomStudentModelConfig()
    settings = dict(
        conv_feature_layers=CONV, encoder_layers=LAYERS, encoder_embed_dim=WIDTH, encoder_ffn_embed_dim=INNER,
        encoder_attention_heads=HEADS, conv_pos=16, conv_pos_groups=4, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, dropout_input=0.0, required_seq_len_multiple=1, pred_head_final_dim=TARGET,
        layerwise_proj=True, enable_tr_layer=False, _teacher_task_agnostic=True)
    for name, value in {**settings, **options}.items():
        setattr(config, name, value)
    model = classes.CustomStudentModel(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draw = 0.3 * torch.randn(parameter.shape, dtype=torch.float32)
            parameter.copy_(draw.double() + (1.0 if name.endswith("norm.weight") or ".0.2.weight" in name else 0.0))
            if name.endswith("weight_g"):
                parameter.abs_()
    return model.eval().double()


def hugging_face(name, tensor):
    """Our name and form of a student's tensor."""
    if name == "mask_emb":
        return "masked_spec_embed", tensor
    if name.startswith("layer_norm."):
        return "feature_projection." + name, tensor
    if name.startswith("feature_extractor.conv_layers."):
        *_, layer, rest = name.split(".", 3)[2:3] + [name.split(".", 3)[3]]
        rest = rest.replace("0.weight", "conv.weight") if rest.startswith("0.") else rest.replace("2.", "layer_norm.", 1)
        return f"feature_extractor.conv_layers.{layer}.{rest}", tensor
    name = name.replace("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv.")
    name = name.replace("self_attn_layer_norm", "layer_norm").replace("self_attn", "attention")
    name = name.replace("fc1", "feed_forward.intermediate_dense").replace("fc2", "feed_forward.output_dense")
    return name, tensor


def weights(model, reduced=False):
    tensors = {}
    for name, parameter in model.named_parameters():
        if name.startswith(("proj_head", "upsampler")):
            continue
        tensor = parameter.detach()
        if reduced and name.startswith("encoder.layers."):
            _, _, layer, rest = name.split(".", 3)
            if layer == "0":
                ours = f"encoder.time_reduction.{rest}"
                tensors[ours] = tensor.permute(0, 2, 1).reshape(WIDTH, 2 * WIDTH) if rest == "weight" else tensor
                continue
            name = f"encoder.layers.{int(layer) - 1}.{rest}"
        ours, tensor = hugging_face(name, tensor)
        tensors[ours] = tensor
    return tensors


def save(path, tensors):
    save_file({k: torch.as_tensor(v).detach().float().contiguous().clone() for k, v in tensors.items()}, HERE / path)


def folder(name, tensors, **keys):
    (HERE / name).mkdir(exist_ok=True)
    config = dict(
        model_type="compact_hubert", conv_dim=[16] * 6 + [WIDTH] * 3, conv_kernel=[10, 1, 3, 3, 3, 3, 1, 2, 2],
        conv_stride=[5, 1, 2, 2, 2, 2, 1, 2, 2], feature_projection=False, hidden_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, intermediate_size=INNER, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        feat_extract_norm="compact_group", **keys)
    (HERE / name / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save(f"{name}/model.safetensors", tensors)


audio = {row: torch.randn(samples, dtype=torch.float32).double() for row, samples in ROWS.items()}
frames = {row: (samples - 400) // 320 + 1 for row, samples in ROWS.items()}
total = sum(frames.values())


# ARMHuBERT: hidden states, and one training step's loss and gradients.

model = student(arm, 7, reuse_pattern="[True, False, False, True]", layer_grad_scale=False)
folder("arm", weights(model), encoder_reuse_attention=[False, True, True, False])
out = {f"audio/{row}": audio[row] for row in ROWS}
for i in range(LAYERS):
    for kind in ("weight", "bias"):
        out[f"heads/{i}.{kind}"] = getattr(model.proj_head[i].lin_proj, kind)
target, masked_target, mask = {}, {}, {}
for row in ROWS:
    target[row] = torch.randn(LAYERS, frames[row], TARGET, dtype=torch.float32).double()
    masked_target[row] = torch.randn(LAYERS, frames[row], TARGET, dtype=torch.float32).double()
    mask[row] = torch.arange(frames[row]) % 3 == 1
    out |= {f"target/{row}": target[row], f"masked_target/{row}": masked_target[row], f"mask/{row}": mask[row].float()}

trainer = types.SimpleNamespace(
    rec_loss_weight=1.0, rec_loss_type="mse", random_layer_weight=0.1, rand_l=list(range(LAYERS - 1)),
    train_cfg={"distil_random_layer": LAYERS - 1})
GRADIENTS = {
    "encoder.layers.0.self_attn.q_proj.weight": "encoder.layers.0.attention.q_proj.weight",
    "encoder.layers.2.self_attn.v_proj.weight": "encoder.layers.2.attention.v_proj.weight",
    "feature_extractor.conv_layers.2.0.weight": "feature_extractor.conv_layers.2.conv.weight",
    "mask_emb": "masked_spec_embed",
    "proj_head.1.lin_proj.weight": "heads/1.weight",
}
as_layers = lambda x: [(layer.unsqueeze(1),) for layer in x]  # noqa: E731  (T, B, D) of each layer


def step(rows, batch):
    """The trainer's loss and its parts for each batch, weighted by frames."""
    results = []
    for names in ([rows] if batch else [[row] for row in rows]):
        longest = max(ROWS[row] for row in names)
        source = torch.stack([F.pad(audio[row], (0, longest - ROWS[row])) for row in names])
        padding = torch.stack([torch.arange(longest) >= ROWS[row] for row in names])
        pad = lambda x: F.pad(x, (0, 0, 0, max(frames[r] for r in names) - x.shape[1]))  # noqa: E731
        masks = torch.stack([F.pad(mask[r], (0, max(frames[q] for q in names) - frames[r])) for r in names])
        student_results = model(source, padding_mask=padding if len(names) > 1 else None, mask_indices=masks)
        teachers = [torch.stack([pad(x[r]) for r in names], dim=2) for x in (target, masked_target)]
        layers = [{"layer_results": [(x[i],) for i in range(LAYERS)], "mask_indices": masks} for x in teachers]
        loss, parts = scope["calculate_loss"](trainer, student_results, *layers)
        results.append((loss, parts, sum(frames[r] for r in names)))
    share = sum(n for *_, n in results)
    weighted = lambda value: sum(value(loss, parts) * n for loss, parts, n in results) / share  # noqa: E731
    masked = weighted(lambda _, p: p["mask_rec_loss"] + 0.1 * p["mask_hint_loss"])
    unmasked = weighted(lambda _, p: p["unmask_rec_loss"] + 0.1 * p["unmask_hint_loss"])
    return weighted(lambda loss, _: loss), masked, unmasked


for variant, twice in {"paper": False, "released": True}.items():
    reused_twice(twice)
    for row in ROWS:
        for i, hidden in enumerate(model(audio[row].unsqueeze(0))["layer_results"]):
            out[f"{variant}/hidden/{row}/{i + 1}"] = hidden[:, 0]
    for gradients in ("sum", "mean"):
        model.encoder.args.layer_grad_scale = gradients == "mean"
        for rows in (["a"], ["a", "b"]):
            model.zero_grad()
            loss, masked, unmasked = step(rows, batch=False)
            loss.backward()
            key = f"{variant}/{gradients}/{''.join(rows)}"
            out |= {f"{key}/loss": loss, f"{key}/masked": masked, f"{key}/unmasked": unmasked}
            named = dict(model.named_parameters())
            out |= {f"{key}/grad/{ours}": named[theirs].grad for theirs, ours in GRADIENTS.items()}
    model.encoder.args.layer_grad_scale = False
    row_by_row, padded = (step(["a", "b"], batch)[0].item() for batch in (False, True))
    print(f"{variant}: row by row {row_by_row:.6f}, the checkout's padded batch {padded:.6f}")
save("arm.safetensors", out)

# FitHuBERT's time reduction and heads; DistilHuBERT's heads.

reused_twice(True)
fit = student(arm, 8, reuse_pattern=str([True] * LAYERS), enable_tr_layer=True, tr_layer_type="conv1d", tr_layer_index=0)
folder("fit", weights(fit, reduced=True), time_reduction=2)
out = {f"audio/{row}": audio[row] for row in ROWS}
for i, head in enumerate(fit.proj_head):
    out |= {f"heads/{i}.upsample.weight": head.upsampler.weight.permute(2, 1, 0), f"heads/{i}.upsample.bias": head.upsampler.bias,
            f"heads/{i}.weight": head.lin_proj.weight, f"heads/{i}.bias": head.lin_proj.bias}
for row in ROWS:
    for i, projection in enumerate(fit(audio[row].unsqueeze(0))["projections"]):
        out[f"projection/{row}/{i + 1}"] = projection[0]
expand = student(arm, 9, reuse_pattern=str([True] * LAYERS), layerwise_proj=False, pred_layer_id="[1, 3, 5]")
linear, _, split = expand.proj_head
x = torch.randn(1, 9, WIDTH, dtype=torch.float32).double()
out |= {"expand/0.expand.weight": linear.weight, "expand/0.expand.bias": linear.bias, "expand/input": x[0]}
for i in range(3):
    out |= {f"expand/0.targets.{i}.weight": split.weight[i].T, f"expand/0.targets.{i}.bias": split.bias[0, 0, i],
            f"expand/output/{i}": expand.proj_head(x).reshape(9, 3, TARGET)[:, i]}
save("fit.safetensors", out)

# STaRHuBERT: hidden states and maps of the checkout's student, its three objectives by their formulas.

model = student(star, 11)
folder("star", weights(model), mask_time_prob=0.0)
out = {f"audio/{row}": audio[row] for row in ROWS}
states, maps = {}, {}
for row in ROWS:
    result = model(audio[row].unsqueeze(0))
    layers = [layer[0] if isinstance(layer, tuple) else layer for layer in result["layer_results"]]
    states[row] = [result["pre_trf"].reshape(frames[row], WIDTH)] + [x.reshape(frames[row], WIDTH) for x in layers]
    maps[row] = [x.reshape(frames[row], frames[row]) for x in result["attn_layer_results"]]
    for i, state in enumerate(states[row]):
        out[f"hidden/{row}/{i}"] = state
    out[f"projection/{row}"] = result["post_cnn"].reshape(frames[row], WIDTH)
    for i, attention in enumerate(maps[row]):
        out[f"map/{row}/{i + 1}"] = attention
    target[row] = torch.randn(LAYERS + 1, frames[row], TARGET, dtype=torch.float32).double()
    teacher_map = torch.randn(LAYERS, frames[row], frames[row], dtype=torch.float32).double().softmax(-1).float().double()
    out |= {f"target/{row}": target[row], f"target_map/{row}": teacher_map}
    masked_target[row] = teacher_map
pairs = sum(n * n for n in frames.values())


def relation(i, j):
    """The mean over the pairs of frames of both rows of (S_i S_j' - T_i T_j')^2."""
    squares = [(states[r][i] @ states[r][j].T - target[r][i] @ target[r][j].T).square().sum() for r in ROWS]
    return sum(squares) / pairs


losses = {
    "gram": sum(relation(i, i) for i in range(LAYERS + 1)) / (LAYERS + 1),
    "gram-between": sum(relation(i - 1, i) for i in range(1, LAYERS + 1)) / LAYERS,
    "map-kl": sum(F.kl_div(maps[r][i].log(), masked_target[r][i], reduction="sum")
                  for r in ROWS for i in range(LAYERS)) / len(ROWS) / LAYERS,
}
for name, loss in losses.items():
    model.zero_grad()
    loss.backward(retain_graph=True)
    out[f"{name}/loss"] = loss
    named = dict(model.named_parameters())
    for theirs in ("encoder.layers.1.self_attn.k_proj.weight", "encoder.layers.3.self_attn.q_proj.weight",
                   "encoder.layers.0.fc1.weight", "feature_extractor.conv_layers.4.0.weight"):
        gradient = named[theirs].grad
        out[f"{name}/grad/{hugging_face(theirs, None)[0]}"] = gradient
save("star.safetensors", out)
