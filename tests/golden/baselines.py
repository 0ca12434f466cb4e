"""Write the golden files of FitHuBERT and DistilHuBERT on tiny models: hidden states, heads, and one training step.

    python tests/golden/baselines.py FITHUBERT S3PRL FAIRSEQ

FITHUBERT is a checkout of https://github.com/glory20h/FitHuBERT, S3PRL one of https://github.com/s3prl/s3prl, FAIRSEQ one of
https://github.com/facebookresearch/fairseq; they are imported, not copied. Students, heads and losses are the checkouts' own, each
row alone, in float64, with torch, safetensors and numpy. Prints what their padded batches give instead. README.md lists the keys.
"""

import sys
import types
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from students import draw, function, hugging_face, keep_type, load_fairseq, save, stub, write_folder

FIT, S3PRL, FAIRSEQ = (Path(path) for path in sys.argv[1:])
WIDTH, CONV, HEADS, INNER, TARGET = 16, 12, 4, 20, 24
ROWS = {"a": 4000, "b": 6400}  # 12 and 19 frames: two by two, the last of b is left out
torch.set_default_dtype(torch.float64)
torch.manual_seed(31)
NO_DROPOUT = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
OURS = dict(
    model_type="compact_hubert", hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=INNER, num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4, feat_extract_norm="compact_group", mask_time_prob=0.0, hidden_dropout=0.0,
    attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0)

load_fairseq(FAIRSEQ)
stub("torchaudio")
stub("torchaudio.transforms", MelSpectrogram=None)
sys.path.insert(0, str(FIT))
from modules import model as fit  # noqa: E402

for package in ("s3prl", "s3prl.upstream", "s3prl.upstream.distiller", "s3prl.upstream.wav2vec2"):
    stub(package, S3PRL / package.replace(".", "/"))
from s3prl.upstream.distiller import model as distiller  # noqa: E402
from s3prl.upstream.wav2vec2 import wav2vec2_model  # noqa: E402

keep_type(wav2vec2_model.Fp32GroupNorm, wav2vec2_model.Fp32LayerNorm)

audio = {row: torch.randn(samples, dtype=torch.float32).double() for row, samples in ROWS.items()}
frames = {row: (samples - 400) // 320 + 1 for row, samples in ROWS.items()}
random = lambda *shape: torch.randn(shape, dtype=torch.float32).double()  # noqa: E731


def batch(names):
    """Waveforms of rows padded to the longest, and which samples are padding."""
    longest = max(ROWS[row] for row in names)
    source = torch.stack([F.pad(audio[row], (0, longest - ROWS[row])) for row in names])
    return source, torch.stack([torch.arange(longest) >= ROWS[row] for row in names])


def padded(target, names):
    """Targets (layers, frames, width) of rows, padded to the longest: (rows, layers, frames, width)."""
    longest = max(frames[row] for row in names)
    return torch.stack([F.pad(target[row], (0, 0, 0, longest - frames[row])) for row in names])


def step(model, rows, losses, weights, gradients, out, key):
    """Adds a step's losses and gradients: each row alone, weighted by its frames."""
    model.zero_grad()
    share = sum(weights[row] for row in rows)
    total = {}
    for row in rows:
        for name, loss in losses([row]).items():
            total[name] = total.get(name, 0.0) + loss * weights[row] / share
    total["loss"].backward()
    out |= {f"{key}/{name}": loss for name, loss in total.items()}
    named = dict(model.named_parameters())
    for theirs, (ours, form) in gradients.items():
        out[f"{key}/grad/{ours}"] = form(named[theirs].grad)


same = lambda x: x  # noqa: E731
joined = lambda x: x.permute(0, 2, 1).reshape(WIDTH, 2 * WIDTH)  # noqa: E731  a convolution of two frames as a linear map
taps = lambda x: x.permute(2, 1, 0)  # noqa: E731  a transposed convolution as a linear map for each of its frames

# FitHuBERT: nine convolutions, a projection, time reduction by a convolution, four layers, a head a layer.

LAYERS = 4
config = fit.CustomStudentModelConfig()
for name, value in dict(
    conv_feature_layers=f"[(16, 10, 5)] + [(16, 1, 1)] + [(16, 3, 2)] * 4 + [({CONV}, 1, 1)] + [({CONV}, 2, 2)] * 2",
    encoder_layers=LAYERS, encoder_embed_dim=WIDTH, encoder_ffn_embed_dim=INNER, encoder_attention_heads=HEADS, conv_pos=16,
    conv_pos_groups=4, dropout_input=0.0, required_seq_len_multiple=1, pred_head_final_dim=TARGET, layerwise_proj=True,
    enable_tr_layer=True, tr_layer_type="conv1d", tr_layer_index=0, tr_reduce_factor=2, **NO_DROPOUT,
).items():
    setattr(config, name, value)
model = draw(fit.CustomStudentModel(config), 8)
heads, tensors = {}, {}
for name, parameter in model.named_parameters():
    tensor = parameter.detach()
    if name.startswith("proj_head."):
        name = name.removeprefix("proj_head.").replace("lin_proj.", "").replace("upsampler", "upsample")
        heads[name] = taps(tensor) if name.endswith("upsample.weight") else tensor
    elif name.startswith("encoder.layers.0."):
        tensors["encoder.time_reduction." + name.split(".")[-1]] = joined(tensor) if name.endswith("weight") else tensor
    elif not name.startswith("upsampler."):  # built, and never used with a head a layer
        parts = name.split(".")
        if name.startswith("encoder.layers."):
            parts[2] = str(int(parts[2]) - 1)
        name, tensor = hugging_face(".".join(parts), tensor)
        tensors[name] = tensor
write_folder(
    "fit", tensors, conv_dim=[16] * 6 + [CONV] * 3, conv_kernel=[10, 1, 3, 3, 3, 3, 1, 2, 2], conv_stride=[5, 1, 2, 2, 2, 2, 1, 2, 2],
    num_hidden_layers=LAYERS, time_reduction=2, **OURS)
save("fit/heads.safetensors", heads)

trainer = types.SimpleNamespace(
    cnn_loss_weight=0, rec_loss_weight=1.0, rec_loss_type="mse", sim_loss_weight=0, attn_loss_weight=0, v_rel_loss_weight=0,
    random_layer_weight=0.1, rand_l=list(range(LAYERS - 1)), num_encoders=LAYERS, task_agnostic=True,
    train_cfg={"distil_random_layer": LAYERS - 1})
calculate_loss = function(FIT / "train.py", "calculate_loss", {"torch": torch, "F": F})
target = {row: random(LAYERS, frames[row], TARGET) for row in ROWS}


def fit_losses(names):
    source, padding = batch(names)
    student = model(source, padding_mask=padding if len(names) > 1 else None)
    layers = padded(target, names)
    teacher = {"layer_results": [(layers[:, i].transpose(0, 1),) for i in range(LAYERS)]}
    loss, parts = calculate_loss(trainer, student, teacher)
    parts = [parts[f"rand_l{i}"] for i in range(LAYERS - 1)] + [parts[f"l{LAYERS - 1}"]]
    return {"loss": loss} | {f"layer/{i + 1}": part for i, part in enumerate(parts)}


out = {f"audio/{row}": audio[row] for row in ROWS} | {f"target/{row}": target[row] for row in ROWS}
for row in ROWS:
    result = model(audio[row].unsqueeze(0))
    for i in range(LAYERS):
        out[f"hidden/{row}/{i + 1}"] = result["layer_results"][i][0][:, 0]
        out[f"projection/{row}/{i + 1}"] = result["projections"][i][0]
gradients = {
    "encoder.layers.1.self_attn.q_proj.weight": ("encoder.layers.0.attention.q_proj.weight", same),
    "encoder.layers.0.weight": ("encoder.time_reduction.weight", joined),
    "feature_extractor.conv_layers.2.0.weight": ("feature_extractor.conv_layers.2.conv.weight", same),
    "proj_head.1.upsampler.weight": ("1.upsample.weight", taps),
}
counted = {row: 2 * (frames[row] // 2) for row in ROWS}
for rows in ("a", "ab"):
    step(model, rows, fit_losses, counted, gradients, out, rows)
print(f"FitHuBERT: row by row {out['ab/loss'].item():.6f}, the checkout's padded batch {fit_losses('ab')['loss'].item():.6f}")
save("fit.safetensors", out)

# DistilHuBERT: HuBERT's seven convolutions, a projection without a norm, two layers, a head that expands the last.

TASKS = [1, 2, 4]
config = distiller.DistillerConfig(dict(
    extractor_conv_feature_layers=f"[(16, 10, 5)] + [(16, 3, 2)] * 4 + [({CONV}, 2, 2)] * 2", feature_grad_mult=0.1, conv_pos=16,
    conv_pos_groups=4, encoder_layers=2, encoder_embed_dim=WIDTH, encoder_ffn_embed_dim=INNER, encoder_attention_heads=HEADS,
    final_dim=TARGET, n_tasks=len(TASKS), pred_layer_id=TASKS, cosine_loss=1.0, **NO_DROPOUT))
model = draw(distiller.DistillerModel(config), 9)
tensors = {}
for name, parameter in model.named_parameters():
    if not name.startswith("output_layer."):
        name, tensor = hugging_face(name, parameter.detach())
        tensors[name] = tensor
write_folder(
    "distilhubert", tensors, conv_dim=[16] * 5 + [CONV] * 2, conv_kernel=[10, 3, 3, 3, 3, 2, 2], conv_stride=[5, 2, 2, 2, 2, 2, 2],
    num_hidden_layers=2, feat_proj_layer_norm=False, **OURS)
wide, _, split = model.output_layer
heads = {"0.expand.weight": wide.weight, "0.expand.bias": wide.bias}
for i in range(len(TASKS)):
    heads |= {f"0.targets.{i}.weight": split.weight[i].T, f"0.targets.{i}.bias": split.bias[0, 0, i]}
save("distilhubert/heads.safetensors", heads)

expert = types.SimpleNamespace(loss_func=nn.L1Loss(reduction="none"), cosine_loss=config.cosine_loss, config=config)
compute_loss = function(S3PRL / "s3prl/pretrain/distiller/pretrain_expert.py", "compute_loss", {"torch": torch, "F": F})
target = {row: random(len(TASKS), frames[row], TARGET) for row in ROWS}


def distil_losses(names):
    source, padding = batch(names)
    features, _, prediction, _ = model(source, (~padding).double())
    loss, l1, _, _, cosine, _ = compute_loss(expert, features, prediction, padded(target, names))
    return {"loss": loss, "l1": l1, "cosine": cosine}


out = {f"audio/{row}": audio[row] for row in ROWS} | {f"target/{row}": target[row] for row in ROWS}
for row in ROWS:
    _, _, prediction, _, hiddens = model(audio[row].unsqueeze(0), torch.ones(1, ROWS[row]), get_hidden=True)
    out |= {f"hidden/{row}/{i + 1}": hidden[0] for i, hidden in enumerate(hiddens)}
    out |= {f"projection/{row}/{i}": prediction[0, i] for i in range(len(TASKS))}
gradients = {
    "encoder.layers.1.self_attn.q_proj.weight": ("encoder.layers.1.attention.q_proj.weight", same),
    "post_extract_proj.weight": ("feature_projection.projection.weight", same),
    "feature_extractor.conv_layers.2.0.weight": ("feature_extractor.conv_layers.2.conv.weight", same),
    "output_layer.0.weight": ("0.expand.weight", same),
}
for rows in ("a", "ab"):
    step(model, rows, distil_losses, frames, gradients, out, rows)
print(f"DistilHuBERT: row by row {out['ab/loss'].item():.6f}, the checkout's padded batch {distil_losses('ab')['loss'].item():.6f}")
save("distilhubert.safetensors", out)
