"""Write the golden files of this folder: what two other implementations compute on tiny models.

    python tests/golden/make.py DPHUBERT

DPHUBERT is a checkout of https://github.com/pyf98/DPHuBERT, which is imported, not copied. Models and hidden states
come from transformers; the LSTM from torch; gates, penalty, losses, the training step and finalising come from DPHuBERT's own classes.
Inputs are f32, everything is computed in f64 and stored as f32. README.md lists the keys.
"""

import json
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel
from transformers.utils.logging import disable_progress_bar

HERE = Path(__file__).parent
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
LENGTHS = (400, 4000, 5999)
UNITS = ("conv", "head", "interm")
ALL_UNITS = (*UNITS, "attlayer", "ffnlayer")

disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)  # DPHuBERT's weight_norm is the older of torch's two


# DPHuBERT, without the trainer around it.

class Lightning(nn.Module):
    """Stands for pytorch_lightning.LightningModule: the training module needs only these two of it."""

    global_step = 0

    def log_dict(self, values):
        self.logged = {**getattr(self, "logged", {}), **values}


def stub(name, **members):
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(members)


sys.path.insert(0, sys.argv[1])
stub("pytorch_lightning", LightningModule=Lightning)
stub("dataset")
stub("dataset.audio_dataset", **dict.fromkeys(
    ["BucketizeBatchSampler", "DistributedBatchSampler", "CollateFnAudio", "AudioDataset"]))
import lightning as reference  # noqa: E402  (the checkout's lightning.py)
from wav2vec2.hardconcrete import HardConcrete  # noqa: E402
from wav2vec2.model import wav2vec2_model, wavlm_model  # noqa: E402

reference.LinearDecayLRScheduler = mock.Mock()  # every step at the peak rates


@contextmanager
def uniform(*draws):
    """Gates draw these values, in the order of the forward pass, instead of random ones."""
    left = iter(draws)
    with mock.patch.object(torch.Tensor, "uniform_", lambda self, *_: self.copy_(next(left))):
        yield
    assert next(left, None) is None, "a gate did not draw"


def save(path, tensors):
    save_file({key: torch.as_tensor(value).detach().float().contiguous().clone() for key, value in tensors.items()},
              HERE / path)


def rand(*shape, mean=0.0, spread=1.0):
    """Normal f32 values, in f64."""
    return (mean + spread * torch.randn(*shape)).double()


# Tiny models: Hugging Face folders, and the same weights in DPHuBERT's model.

def make_folder(name, make_config=HubertConfig, make_model=HubertModel, **options):
    """A model folder with no zero bias and no unit norm; dropout is 0 in its config."""
    config = make_config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
        conv_dim=(16, 16, 12, 12, 12, 16, 20), conv_kernel=KERNELS, conv_stride=STRIDES,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, initializer_range=0.2,
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0,
        layerdrop=0.0, **options)
    model = make_model(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    model.save_pretrained(HERE / name)
    normalise = config.feat_extract_norm == "layer"
    Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(HERE / name)


def hugging_face(name):
    kind = WavLMModel if name == "wavlm" else HubertModel
    return kind.from_pretrained(HERE / name, attn_implementation="eager").double().eval()


def to_hugging_face(key):
    """DPHuBERT's (and torchaudio's) name of a tensor as Hugging Face's."""
    for ours, theirs in (("encoder.feature_projection.", "feature_projection."), ("encoder.transformer.", "encoder.")):
        key = key.replace(ours, theirs)
    return key


def dphubert_config(name, units=()):
    config = (WavLMConfig if name == "wavlm" else HubertConfig).from_pretrained(HERE / name)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if name == "wavlm":
        of_heads = dict(
            encoder_total_num_heads=[heads] * layers,
            encoder_remaining_heads=[list(range(heads))] * layers,
            encoder_num_buckets=config.num_buckets,
            encoder_max_distance=config.max_bucket_distance)
    else:
        of_heads = dict(encoder_num_heads=[heads] * layers, encoder_head_dim=config.hidden_size // heads)
    return dict(
        extractor_mode=f"{config.feat_extract_norm}_norm",
        extractor_conv_layer_config=list(zip(config.conv_dim, config.conv_kernel, config.conv_stride)),
        extractor_conv_bias=config.conv_bias,
        encoder_embed_dim=config.hidden_size,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=config.num_conv_pos_embeddings,
        encoder_pos_conv_groups=config.num_conv_pos_embedding_groups,
        encoder_num_layers=layers,
        encoder_use_attention=[True] * layers,
        encoder_use_feed_forward=[True] * layers,
        **of_heads,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=[config.intermediate_size] * layers,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=config.do_stable_layer_norm,
        encoder_layer_drop=0.0,
        aux_num_out=None,
        normalize_waveform=False,
        extractor_prune_conv_channels="conv" in units,
        encoder_prune_attention_heads="head" in units,
        encoder_prune_attention_layer="attlayer" in units,
        encoder_prune_feed_forward_intermediate="interm" in units,
        encoder_prune_feed_forward_layer="ffnlayer" in units)


def dphubert(name, units=()):
    """DPHuBERT's model with the weights of a folder; with units, the gates are added at their random start."""
    model = (wavlm_model if name == "wavlm" else wav2vec2_model)(**dphubert_config(name, units))
    stored = load_file(HERE / name / "model.safetensors")
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        stored = {key.replace(f"parametrizations.weight.{new}", old): value for key, value in stored.items()}
    state = model.state_dict()
    for key in state:
        if "log_alpha" not in key and "dummy_weight" not in key:
            state[key] = stored.pop(to_hugging_face(key))
    assert list(stored) == ["masked_spec_embed"], stored.keys()
    model.load_state_dict(state)
    return model.double()


def log_alphas(model):
    """The gate vectors by name, in the order of the forward pass."""
    return {key: gate for key, gate in model.named_parameters() if "log_alpha" in key}


def set_log_alphas(model, mean, spread):
    for gate in log_alphas(model).values():
        gate.data.copy_(rand(len(gate), mean=mean, spread=spread))


def gate_name(key):
    return to_hugging_face(key).removesuffix(".log_alpha")


# 1, 2: hidden states.

def hidden(name):
    """All hidden states of three rows, one row at a time, in both conventions; the two implementations must agree."""
    first, second = hugging_face(name), dphubert(name).eval()
    kept = {}
    for key, module in (("projection", first.feature_projection), ("last", first.encoder.layers[-1])):
        module.register_forward_hook(  # a layer of WavLM also gives its bias, its projection also what it projects
            lambda _, __, output, key=key: kept.update({key: output[0] if isinstance(output, tuple) else output}))
    normalise = first.config.feat_extract_norm == "layer"
    tensors = {}
    for length in LENGTHS:
        loudness, offset = (0.01, 0.02) if length == 4000 else (0.3, 0.0)
        row = loudness * torch.randn(length) + offset
        tensors[f"{length}/audio"] = row
        row = row.double()
        if normalise:
            row = torch.from_numpy(Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm([row.numpy()], None)[0])
            tensors[f"{length}/normalised"] = row
        with torch.no_grad():
            output = first(row[None], output_hidden_states=True)
            torchaudio = second.extract_features(row[None])[0]
        inner = [kept["projection"], output.hidden_states[1], kept["last"]]
        for layer, (ours, theirs) in enumerate(zip(inner, torchaudio)):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
            tensors[f"{length}/torchaudio/{layer}"] = theirs[0]
        # transformers 4 puts the final norm of pre-LN models on the last hidden state, transformers 5 does not.
        for layer, state in enumerate([*output.hidden_states[:2], output.last_hidden_state]):
            tensors[f"{length}/hf/{layer}"] = state[0]
    save(f"{name}_hidden.safetensors", tensors)


# 3: gates.

def gates():
    tensors = {}
    for mean in (0.0, 4.6):
        gate = HardConcrete(12).double().train()
        gate.log_alpha.data.copy_(rand(12, mean=mean))
        u = (1e-3 + (1 - 2e-3) * torch.rand(12)).double()
        u[:3] = torch.tensor([1e-6, 0.5, 1 - 1e-6])
        upstream = rand(12)
        with uniform(u):
            z = gate()
        case = f"train/{mean}"
        tensors |= {f"{case}/log_alpha": gate.log_alpha, f"{case}/u": u, f"{case}/upstream": upstream, f"{case}/z": z}
        tensors[f"{case}/grad"], = torch.autograd.grad(z, gate.log_alpha, upstream)
        l0 = gate.l0_norm()
        tensors[f"{case}/l0"] = l0
        tensors[f"{case}/l0_grad"], = torch.autograd.grad(l0, gate.log_alpha)

    cases = [(n, mean, spread) for n in (5, 12, 40) for mean in (0.0, 4.6) for spread in (0.01, 3.0)]
    for n, mean, spread in [*cases, (4, -8.0, 0.1)]:
        gate = HardConcrete(n).double().eval()
        gate.log_alpha.data.copy_(rand(n, mean=mean, spread=spread))
        check_clear_choice(gate)
        case = f"eval/{n}_{mean}_{spread}"
        tensors |= {f"{case}/log_alpha": gate.log_alpha, f"{case}/z": gate(), f"{case}/l0": gate.l0_norm()}
    save("gates.safetensors", tensors)


def check_clear_choice(gate):
    """Which gates close must not hang on f32 rounding: neither how many, nor which is the last to close."""
    closed = gate.n_in - gate.l0_norm().item()
    assert abs(closed % 1 - 0.5) > 1e-3, closed
    soft = torch.sigmoid(0.8 * gate.log_alpha / gate.beta).sort().values
    if 0 < round(closed) < gate.n_in:
        assert soft[round(closed)] - soft[round(closed) - 1] > 1e-5


# 4: penalty.

def penalty():
    tensors = {}
    original = sum(weight.numel() for weight in dphubert("base").parameters())
    assert dphubert("base").get_num_params() == original
    for case, units in (("three", UNITS), ("five", ALL_UNITS)):
        model = dphubert("base", units)
        set_log_alphas(model, 0.5, 2.0)
        gate = log_alphas(model)
        expected = model.get_num_params()
        lambdas = torch.tensor([0.3, 0.7], dtype=torch.double, requires_grad=True)
        over = 1 - expected / original - 0.25
        loss = lambdas[0] * over + lambdas[1] * over**2
        size_grad = torch.autograd.grad(expected, list(gate.values()), retain_graph=True)
        *loss_grad, lambda_grad = torch.autograd.grad(loss, [*gate.values(), lambdas])
        for key, of_size, of_loss in zip(gate, size_grad, loss_grad):
            name = gate_name(key)
            tensors |= {f"{case}/log_alpha/{name}": gate[key], f"{case}/size_grad/{name}": of_size,
                        f"{case}/loss_grad/{name}": of_loss}
        tensors |= {f"{case}/original": original, f"{case}/expected": expected, f"{case}/target": 0.25,
                    f"{case}/lambda": lambdas, f"{case}/loss": loss, f"{case}/lambda_grad": lambda_grad}
    save("penalty.safetensors", tensors)


def base_size():
    """HuBERT Base: the formula's count is the true one, and at its start the gates expect 10.18 % to go."""
    config = dphubert_config("base", UNITS) | dict(
        extractor_conv_layer_config=[(512, kernel, stride) for kernel, stride in zip(KERNELS, STRIDES)],
        encoder_embed_dim=768, encoder_pos_conv_kernel=128, encoder_pos_conv_groups=16, encoder_num_layers=12,
        encoder_use_attention=[True] * 12, encoder_use_feed_forward=[True] * 12, encoder_num_heads=[12] * 12,
        encoder_head_dim=64, encoder_ff_interm_features=[3072] * 12)
    model = wav2vec2_model(**config)
    original = sum(weight.numel() for key, weight in model.named_parameters() if "log_alpha" not in key)
    for gate in model.modules():
        if isinstance(gate, HardConcrete):
            drop = torch.tensor(gate.init_mean, dtype=torch.double)
            gate.log_alpha.data = (torch.log(1 - drop) - torch.log(drop)).expand(gate.n_in)
    expected = model.get_num_params().item()
    print(f"HuBERT Base: {original} parameters, {expected:.1f} expected at the start, "
          f"sparsity {100 * (1 - expected / original):.2f} %")
    assert original == 94_371_456 and round(expected) == 84_766_853


# 5: losses.

def losses():
    student, target = rand(2, 7, 24).requires_grad_(), rand(2, 7, 24)
    target[1, 6] = 0  # a silent frame: its cosine is 0
    tensors = {"student": student, "target": target}
    for name, weights in (("mse", (1, 0, 0, "raw")), ("l1", (0, 1, 0, "raw")), ("cosine", (0, 0, 1, "raw")),
                          ("log_sigmoid_cosine", (0, 0, 1, "log_sig"))):
        loss, _ = reference.DistillLoss(*weights)(student, target)
        tensors[name] = loss
        tensors[f"{name}_grad"], = torch.autograd.grad(loss, student)
    save("losses.safetensors", tensors)


# 6: training steps.

def steps(dtype=torch.double):
    """Two steps on one batch with one set of draws."""
    torch.manual_seed(6)
    student = dphubert("base", UNITS)
    set_log_alphas(student, 1.0, 1.5)
    own, shared = (nn.Linear(24, 24).double() for _ in range(2))
    for linear in (own, shared):
        linear.weight.data.copy_(rand(24, 24, mean=torch.eye(24), spread=0.01))
        linear.bias.data.copy_(rand(24, spread=0.01))
    audio = 0.3 * torch.randn(2, 6000)
    draws = {key: torch.rand_like(gate, dtype=torch.float).clamp(1e-3, 1 - 1e-3) for key, gate in
             log_alphas(student).items()}
    module = reference.DistillModule(
        teacher_model=dphubert("teacher"), student_model=student.train(), distill_mode="layer2layer",
        distill_layers=[0, 1, 2], distill_linear_projs=nn.ModuleList([own, shared, shared]),
        distill_loss=reference.DistillLoss(l2_weight=0, l1_weight=1, cos_weight=1, cos_type="raw"),
        learning_rate=2e-4, weight_decay=0.0, warmup_updates=0, max_updates=1, use_reg=True, reg_learning_rate=2e-2,
        target_sparsity=0.2, sparsity_warmup_updates=0, tsv_dir="", train_subset="", seconds_per_batch=0,
        num_workers=0).to(dtype)
    module.lambda1.data.fill_(0.3)
    module.lambda2.data.fill_(0.7)
    trained = {to_hugging_face(key.removeprefix("student_model.")): weight for key, weight in module.named_parameters()
               if not key.startswith("teacher_model.") and weight.requires_grad}

    tensors = {"audio": audio} | {f"u/{gate_name(key)}": u for key, u in draws.items()}
    for key, weight in trained.items():
        if not key.startswith(("feature_", "encoder.")) or "log_alpha" in key:
            tensors[f"before/{key}"] = weight.detach().clone()
    optimizer = module.configure_optimizers()["optimizer"]
    # The trainer clips what the optimizer holds: weights, maps, log alphas and multipliers together.
    clipped = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert sum(weight.requires_grad for weight in clipped) == len(trained)
    for count in ("1", "2"):
        optimizer.zero_grad()
        with uniform(*draws.values()):
            loss = module.training_step((audio.to(dtype), torch.tensor([6000, 6000])), 0)
        loss.backward()
        tensors |= {f"{count}/grad/{key}": weight.grad.clone() for key, weight in trained.items()}
        norm = nn.utils.clip_grad_norm_(clipped, 0.5)
        assert norm > 0.5
        optimizer.step()
        tensors |= {f"{count}/after/{key}": weight.detach().clone() for key, weight in trained.items()}
        tensors |= {f"{count}/norm": norm, f"{count}/sparsity": module.logged["sparsity_expected"].detach()}
        tensors |= {f"{count}/{name}": module.logged[f"train_{name}"].detach().clone() for name in
                    ("loss", "loss_l1", "loss_cos", "loss_reg")}
    return tensors


# 7: finalising.

def prune(model):
    """Cuts the model; the options that build the smaller one."""
    conv, attention, feed_forward, heads, _, units = model.prune()
    return dphubert_config("base") | dict(
        extractor_conv_layer_config=conv, encoder_use_attention=attention, encoder_use_feed_forward=feed_forward,
        encoder_num_heads=heads, encoder_ff_interm_features=units)


def finalise():
    model = dphubert("base", UNITS)
    set_log_alphas(model, 0.5, 3.0)
    layers = model.encoder.transformer.layers
    layers[0].feed_forward.hard_concrete_for_intermediate.log_alpha.data -= 12  # all units close
    layers[1].attention.hard_concrete_for_heads.log_alpha.data -= 12  # all heads close
    model.eval()
    tensors = {"audio": 0.3 * torch.randn(4000)}
    row = tensors["audio"].double()[None]
    for key, module in model.named_modules():
        if isinstance(module, HardConcrete):
            check_clear_choice(module)
            tensors |= {f"log_alpha/{to_hugging_face(key)}": module.log_alpha, f"z/{to_hugging_face(key)}": module()}
    tensors |= {f"before/{layer}": state[0] for layer, state in enumerate(model.extract_features(row)[0])}

    config = prune(model)
    assert config["encoder_use_attention"] == [True, False] and config["encoder_use_feed_forward"] == [False, True]
    (HERE / "finalized").mkdir(exist_ok=True)
    (HERE / "finalized/config.json").write_text(json.dumps(config, indent=2) + "\n")
    save("finalized/model.safetensors", model.state_dict())
    pruned = wav2vec2_model(**config)
    pruned.load_state_dict(load_file(HERE / "finalized/model.safetensors"))
    states = pruned.double().eval().extract_features(row)[0]
    tensors |= {f"after/{layer}": state[0] for layer, state in enumerate(states)}
    save("finalized/states.safetensors", tensors)


def step():
    """The steps in f64; how far torch itself is from them in f32 says what tolerance is fair."""
    exact, rough = steps(), steps(torch.float)
    save("step.safetensors", exact)
    for kind in ("grad", "after"):
        errors = {key: float((exact[key] - rough[key]).abs().max()) for key in exact if f"/{kind}/" in key}
        worst = sorted(errors, key=errors.get)[-4:]
        print(f"{kind} in f32 differs by", ", ".join(f"{errors[key]:.1e} ({key})" for key in reversed(worst)))


# 7: a recurrent layer.

def lstm():
    """Rows one at a time; gradients of weights are sums over the rows."""
    layer = nn.LSTM(5, 6, batch_first=True, bidirectional=True).double()
    for weight in layer.parameters():
        weight.data.copy_(rand(*weight.shape, spread=0.4))
    tensors = dict(layer.named_parameters())
    for frames in (1, 4, 9):
        x, upstream = rand(frames, 5).requires_grad_(), rand(frames, 12)
        y, _ = layer(x[None])
        y[0].backward(upstream)
        tensors |= {f"{frames}/x": x, f"{frames}/y": y[0], f"{frames}/upstream": upstream, f"{frames}/grad": x.grad}
    save("lstm.safetensors", tensors | {f"grad/{name}": weight.grad for name, weight in layer.named_parameters()})


# 9: gates on whole layers.

def layer_gates():
    """All five units: a sampled pass with its gradients; fixed gates, and the states before and after cutting."""
    model = dphubert("base", ALL_UNITS)
    set_log_alphas(model, 1.0, 1.5)
    layers, gates = model.encoder.transformer.layers, log_alphas(model)
    whole = [part.hard_concrete_for_layer.log_alpha for layer in layers for part in (layer.attention, layer.feed_forward)]
    for gate in whole:
        gate.data.fill_(0.5)
    audio, upstream = 0.3 * torch.randn(4000), rand(12, 24)
    row = audio.double()[None]
    draws = {key: torch.rand_like(gate, dtype=torch.float).clamp(0.2, 0.6) for key, gate in gates.items()}
    with uniform(*draws.values()):
        states = model.train().extract_features(row)[0]
    grads = torch.autograd.grad(states[-1][0], list(gates.values()), upstream)
    tensors = {"audio": audio, "train/upstream": upstream}
    for (key, gate), grad in zip(gates.items(), grads):
        name = gate_name(key)
        tensors |= {f"train/log_alpha/{name}": gate.detach().clone(), f"train/u/{name}": draws[key],
                    f"train/grad/{name}": grad}
    tensors |= {f"train/{layer}": state[0] for layer, state in enumerate(states)}

    whole[0].data.fill_(-3.0)  # the first layer's attention closes as a whole
    layers[1].feed_forward.hard_concrete_for_intermediate.log_alpha.data -= 15  # units close in a layer that is open
    model.eval()
    for key, module in model.named_modules():
        if isinstance(module, HardConcrete):
            check_clear_choice(module)
            tensors[f"z/{to_hugging_face(key)}"] = module()
    tensors |= {f"before/{layer}": state[0] for layer, state in enumerate(model.extract_features(row)[0])}
    config = prune(model)
    assert config["encoder_use_attention"] == [False, True] and config["encoder_use_feed_forward"] == [True, False]
    pruned = wav2vec2_model(**config).double()
    pruned.load_state_dict(model.state_dict())
    tensors |= {f"after/{layer}": state[0] for layer, state in enumerate(pruned.eval().extract_features(row)[0])}
    save("layer_gates.safetensors", tensors)


# 10: optimisers.

def optimizers():
    """Four updates of a weight and a bias, decay 0.1, on a linear warm-up: torch's AdamW, and s3prl's
    AdamW_with_schedule as its formula says (its Lamb with trust ratio 1 and bias correction; biases are not decayed)."""
    rate, betas, eps, decay = 0.01, (0.9, 0.98), 1e-6, 0.1
    before = {"weight": rand(6), "bias": rand(4)}
    sizes = {key: 10.0 ** torch.linspace(-6, 0, len(p)).double() for key, p in before.items()}
    grads = [{key: size * torch.randn(len(size)) for key, size in sizes.items()} for _ in range(4)]
    grads = [{key: g.float().double() for key, g in each.items()} for each in grads]
    first, second = ({key: nn.Parameter(p.clone()) for key, p in before.items()} for _ in range(2))
    adamw = torch.optim.AdamW(first.values(), betas=betas, eps=eps, weight_decay=decay)
    moments = {key: (torch.zeros_like(p), torch.zeros_like(p)) for key, p in before.items()}
    tensors = {f"before/{key}": p for key, p in before.items()}
    for update, each in enumerate(grads, 1):
        adamw.param_groups[0]["lr"] = rate * update / 4
        for key, g in each.items():
            first[key].grad = g.clone()
            m, v = moments[key]
            m.mul_(betas[0]).add_((1 - betas[0]) * g)
            v.mul_(betas[1]).add_((1 - betas[1]) * g * g)
            step = rate * update / 4 * (1 - betas[1]**update)**0.5 / (1 - betas[0]**update)
            p = second[key].data
            p -= step * (m / (v.sqrt() + eps) + (0 if "bias" in key else decay) * p)
        adamw.step()
        for key, g in each.items():
            tensors |= {f"grad/{update}/{key}": g, f"adamw/{update}/{key}": first[key].detach().clone(),
                        f"adamw-s3prl/{update}/{key}": second[key].detach().clone()}
    save("optimizers.safetensors", tensors)


# 11: hidden states of a model that does not see some frames.

def masked():
    """The mask embedding stands in for frames after the feature projection; also its gradient."""
    model = hugging_face("base")
    model.config.apply_spec_augment = True  # or else a mask that is given is not looked at
    audio = 0.3 * torch.randn(5999)
    mask = torch.rand(18) < 0.4
    output = model(audio.double()[None], mask_time_indices=mask[None], output_hidden_states=True)
    tensors = {"audio": audio, "mask": mask, "upstream": rand(18, 24)}
    tensors |= {f"{layer}": state[0] for layer, state in enumerate(output.hidden_states)}
    tensors["grad"], = torch.autograd.grad(output.last_hidden_state[0], model.masked_spec_embed, tensors["upstream"])
    save("masked.safetensors", tensors)


def main():
    large = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    wavlm = dict(make_config=WavLMConfig, make_model=WavLMModel, num_buckets=16, max_bucket_distance=40)
    for seed, (name, options) in enumerate({"base": {}, "teacher": {}, "large": large, "wavlm": wavlm}.items()):
        torch.manual_seed(seed)
        make_folder(name, **options)
    parts = (lambda: hidden("base"), lambda: hidden("large"), gates, penalty, base_size, losses, step, finalise, lstm)
    for seed, part in [*enumerate(parts), (8, lambda: hidden("wavlm")), (9, layer_gates), (10, optimizers), (9, masked)]:
        torch.manual_seed(10 + seed)
        part()


main()
