"""Write the golden files of ARMHuBERT, MaskHuBERT and STaRHuBERT on tiny models.

    python tests/golden/distil.py ARMHUBERT FAIRSEQ

ARMHUBERT is a checkout of https://github.com/sungnyun/ARMHuBERT, FAIRSEQ one of https://github.com/facebookresearch/fairseq;
both are imported, not copied. Students, their heads and the masking loss are the checkout's own classes; STaRHuBERT's losses,
of which no code is public, are transcribed here in float64 from methods' formulas. README.md lists the keys.
"""

import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F

from students import draw, function, hugging_face, load_fairseq, save, softmax, write_folder

ARM, FAIRSEQ = sys.argv[1:]
LAYERS, WIDTH, HEADS, INNER, TARGET = 4, 16, 4, 20, 24
CONV = f"[(16, 10, 5)] + [(16, 1, 1)] + [(16, 3, 2)] * 4 + [({WIDTH}, 1, 1)] + [({WIDTH}, 2, 2)] * 2"
ROWS = {"a": 4000, "b": 5999}
torch.manual_seed(5)
torch.set_default_dtype(torch.float64)


load_fairseq(FAIRSEQ)
sys.path.insert(0, ARM)
from models.armhubert import model as arm, reusing_module  # noqa: E402
from models.maskhubert import model as unshared  # noqa: E402
from models.starhubert import model as star  # noqa: E402

real_utils = reusing_module.utils
calculate_loss = function(Path(ARM, "train.py"), "calculate_loss", {"torch": torch, "F": F})


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
    return draw(classes.CustomStudentModel(config), seed)


def weights(model):
    named = model.named_parameters()
    return dict(hugging_face(name, p.detach()) for name, p in named if not name.startswith("proj_head"))


def folder(name, tensors, **keys):
    write_folder(
        name, tensors, model_type="compact_hubert", conv_dim=[16] * 6 + [WIDTH] * 3, conv_kernel=[10, 1, 3, 3, 3, 3, 1, 2, 2],
        conv_stride=[5, 1, 2, 2, 2, 2, 1, 2, 2], feature_projection=False, hidden_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, intermediate_size=INNER, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        feat_extract_norm="compact_group", **keys)


audio = {row: torch.randn(samples, dtype=torch.float32).double() for row, samples in ROWS.items()}
frames = {row: (samples - 400) // 320 + 1 for row, samples in ROWS.items()}
total = sum(frames.values())


# ARMHuBERT and MaskHuBERT: hidden states, and one training step's loss and gradients.

target, masked_target, mask = {}, {}, {}
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


def step(model, rows, batch):
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
        loss, parts = calculate_loss(trainer, student_results, *layers)
        results.append((loss, parts, sum(frames[r] for r in names)))
    share = sum(n for *_, n in results)
    weighted = lambda value: sum(value(loss, parts) * n for loss, parts, n in results) / share  # noqa: E731
    masked = weighted(lambda _, p: p["mask_rec_loss"] + 0.1 * p["mask_hint_loss"])
    unmasked = weighted(lambda _, p: p["unmask_rec_loss"] + 0.1 * p["unmask_hint_loss"])
    return weighted(lambda loss, _: loss), masked, unmasked


def masking_distillation(name, model, variants):
    """Writes the states and one step of a student in each variant, which is a second softmax of reused maps or none."""
    out = {f"audio/{row}": audio[row] for row in ROWS}
    for i in range(LAYERS):
        for kind in ("weight", "bias"):
            out[f"heads/{i}.{kind}"] = getattr(model.proj_head[i].lin_proj, kind)
    for row in ROWS:
        target[row] = torch.randn(LAYERS, frames[row], TARGET, dtype=torch.float32).double()
        masked_target[row] = torch.randn(LAYERS, frames[row], TARGET, dtype=torch.float32).double()
        mask[row] = torch.arange(frames[row]) % 3 == 1
        out |= {f"target/{row}": target[row], f"masked_target/{row}": masked_target[row], f"mask/{row}": mask[row].float()}
    for variant, twice in variants.items():
        reused_twice(twice)
        for row in ROWS:
            for i, hidden in enumerate(model(audio[row].unsqueeze(0))["layer_results"]):
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
                out[f"{variant}/hidden/{row}/{i + 1}"] = hidden[:, 0]
        for gradients in ("sum", "mean"):
            model.encoder.args.layer_grad_scale = gradients == "mean"
            for rows in (["a"], ["a", "b"]):
                model.zero_grad()
                loss, masked, unmasked = step(model, rows, batch=False)
                loss.backward()
                key = f"{variant}/{gradients}/{''.join(rows)}"
                out |= {f"{key}/loss": loss, f"{key}/masked": masked, f"{key}/unmasked": unmasked}
                named = dict(model.named_parameters())
                out |= {f"{key}/grad/{ours}": named[theirs].grad for theirs, ours in GRADIENTS.items()}
        model.encoder.args.layer_grad_scale = False
        row_by_row, padded = (step(model, ["a", "b"], batch)[0].item() for batch in (False, True))
        print(f"{name}, {variant}: row by row {row_by_row:.6f}, the checkout's padded batch {padded:.6f}")
    save(f"{name}.safetensors", out)


model = student(arm, 7, reuse_pattern="[True, False, False, True]", layer_grad_scale=False)
folder("arm", weights(model), encoder_reuse_attention=[False, True, True, False])
masking_distillation("arm", model, {"paper": False, "released": True})

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

# MaskHuBERT: the same step of a student all of whose layers compute their maps.

model = student(unshared, 13, layer_grad_scale=False)
folder("mask", weights(model))
masking_distillation("mask", model, {"paper": False})
