"""Write checkpoints of other programs into formats/, from the models of this folder and from small new ones.

    python tests/golden/formats.py        # needs torch, torchaudio, transformers, numpy; torch_files.py first

Where a program is not at hand (fairseq, omegaconf, s3prl, Lightning), its files are dictionaries with its names, and
classes that pickle under its names stand for its own. Files that hold a model of this folder have no numbers of their
own to compare with; states.safetensors has those of the others. README.md lists the files.
"""

import json
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy
import torch
import torchaudio
from safetensors.torch import load_file, save_file
from transformers import (
    Data2VecAudioConfig, Data2VecAudioModel, HubertConfig, HubertModel, WhisperConfig, WhisperFeatureExtractor,
    WhisperModel)
from transformers.models.hubert.modeling_hubert import HubertEncoder

HERE = Path(__file__).parent
OUT = HERE / "formats"
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
LENGTHS = (400, 4000, 5999)
STATES = {}


def pickled_as(module, name):
    """A class that pickles as `module.name`, with its attributes as its state."""
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), ModuleType(".".join(parts[:i])))
    kind = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, kind)
    return kind


Dictionary = pickled_as("fairseq.data.dictionary", "Dictionary")
DictConfig = pickled_as("omegaconf.dictconfig", "DictConfig")
ListConfig = pickled_as("omegaconf.listconfig", "ListConfig")
AnyNode = pickled_as("omegaconf.nodes", "AnyNode")
Choice = pickled_as("fairseq.dataclass.constants", "ChoiceEnum")
Scheduler = pickled_as("s3prl.optimizers", "Schedule")
AttributeDict = type("AttributeDict", (dict,), {"__module__": "pytorch_lightning.utilities.parsing"})
pickled_as("pytorch_lightning.utilities.parsing", "unused")
sys.modules["pytorch_lightning.utilities.parsing"].AttributeDict = AttributeDict


def made(kind, **state):
    value = kind()
    vars(value).update(state)
    return value


def omega(value):
    """A value as omegaconf holds it."""
    if isinstance(value, dict):
        content = {key: omega(part) for key, part in value.items()}
        return made(DictConfig, _metadata=None, _parent=None, _content=content)
    if isinstance(value, list):
        return made(ListConfig, _metadata=None, _parent=None, _content=[omega(part) for part in value])
    return made(AnyNode, _metadata=None, _parent=None, _val=value)


def dictionary(symbols):
    return made(Dictionary, symbols=symbols, indices={s: i for i, s in enumerate(symbols)}, count=[1] * len(symbols),
                bos_word="<s>", eos_word="</s>", pad_word="<pad>", unk_word="<unk>")


# Names.

def to_fairseq(name, layer_norm):
    norm = "2.1" if layer_norm else "2"
    pairs = [
        (".conv.weight", ".0.weight"), (".conv.bias", ".0.bias")] if ".conv_layers." in name else []
    if ".conv_layers." in name:
        pairs += [(".layer_norm.", f".{norm}.")]
    elif name.startswith("encoder.layers."):
        pairs = [
            (".attention.rel_attn_embed.", ".self_attn.relative_attention_bias."),
            (".attention.gru_rel_pos_linear.", ".self_attn.grep_linear."),
            (".attention.gru_rel_pos_const", ".self_attn.grep_a"), (".attention.", ".self_attn."),
            (".final_layer_norm.", ".FINAL."), (".layer_norm.", ".self_attn_layer_norm."),
            (".FINAL.", ".final_layer_norm."), (".feed_forward.intermediate_dense.", ".fc1."),
            (".feed_forward.output_dense.", ".fc2.")]
    else:
        pairs = [
            ("feature_projection.layer_norm.", "layer_norm."), ("feature_projection.projection.", "post_extract_proj."),
            ("masked_spec_embed", "mask_emb"), ("encoder.pos_conv_embed.conv.", "encoder.pos_conv.0.")]
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


def plain(name):
    """The older names of the weight norm."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v")


def folder(name):
    tensors = {plain(key): value for key, value in load_file(HERE / name / "model.safetensors").items()}
    return json.loads((HERE / name / "config.json").read_text()), tensors


def fairseq_state(name):
    config, tensors = folder(name)
    layer_norm = config["feat_extract_norm"].endswith("layer")
    return config, OrderedDict((to_fairseq(key, layer_norm), value) for key, value in tensors.items())


def layers_text(config):
    triples = list(zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"]))
    return " + ".join(f"[({c}, {k}, {s})]" for c, k, s in triples)


def fairseq_model(config, kind):
    mode = "layer_norm" if config["feat_extract_norm"].endswith("layer") else "default"
    return {
        "_name": kind, "extractor_mode": mode, "conv_feature_layers": layers_text(config),
        "conv_bias": config.get("conv_bias", False), "encoder_layers": config["num_hidden_layers"],
        "encoder_embed_dim": config["hidden_size"], "encoder_ffn_embed_dim": config["intermediate_size"],
        "encoder_attention_heads": config["num_attention_heads"], "activation_fn": "gelu",
        "layer_norm_first": config.get("do_stable_layer_norm", False), "conv_pos": config["num_conv_pos_embeddings"],
        "conv_pos_groups": config["num_conv_pos_embedding_groups"], "dropout": 0.0, "attention_dropout": 0.0,
        "activation_dropout": 0.0, "dropout_input": 0.0, "mask_prob": 0.8, "final_dim": 6, "untie_final_proj": True,
        "logit_temp": 0.1}


def rand(*shape):
    return torch.randn(*shape)


def audio(n):
    """The waveforms of base_hidden.safetensors."""
    return load_file(HERE / "base_hidden.safetensors")[f"{n}/audio"]


def record(name, states_of):
    for n in LENGTHS:
        with torch.no_grad():
            for layer, state in enumerate(states_of(audio(n))):
                STATES[f"{name}/{n}/{layer}"] = state.float().contiguous().clone()


# transformers

def hugging_face():
    config, tensors = folder("base")
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}

    def newer(key):
        for old, new in names.items():
            key = key.replace(f"conv.{old}", f"conv.{new}")
        return key

    state = OrderedDict(("hubert." + newer(key), value) for key, value in tensors.items())
    state["lm_head.weight"] = rand(3, 24)
    bin_folder = OUT / "bin"
    bin_folder.mkdir(exist_ok=True)
    torch.save(state, bin_folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    shards = OUT / "shards"
    shards.mkdir(exist_ok=True)
    keys = list(tensors)
    parts = [keys[::2], keys[1::2]]
    weight_map = {}
    for i, part in enumerate(parts):
        name = f"pytorch_model-0000{i + 1}-of-00002.bin"
        torch.save({key: tensors[key] for key in part}, shards / name)
        weight_map.update({key: name for key in part})
    (shards / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    for path in (bin_folder, shards):
        (path / "config.json").write_text(json.dumps(config))


# fairseq, s3prl, unilm

def fairseq():
    config, state = fairseq_state("base")
    symbols = ["<s>", "<pad>", "</s>", "<unk>", "2", "0", "1"]
    head = {"final_proj.weight": rand(6, 24), "final_proj.bias": rand(6), "label_embs_concat": torch.rand(7, 6)}
    model = fairseq_model(config, "hubert")
    task = {"_name": "hubert_pretraining", "normalize": False, "label_rate": 50.0, "labels": ["km"]}
    moments = {i: {"step": 3, "exp_avg": rand(4), "exp_avg_sq": rand(4)} for i in range(2)}
    torch.save({
        "args": None, "cfg": omega({"model": model | {"activation_fn": "gelu"}, "task": task}), "model": {**state, **head},
        "criterion": None, "optimizer_history": [{"num_updates": 3}], "extra_state": {"epoch": 1},
        "task_state": {"dictionaries": [dictionary(symbols)]}, "last_optimizer_state": {"state": moments}},
        OUT / "fairseq_hubert.pt")
    torch.save({
        "task_cfg": task, "model_cfg": model, "model_weight": {**state, **head}, "dictionaries_symbols": [symbols]},
        OUT / "s3prl_hubert.pt")
    with torch.no_grad():
        last = load_file(HERE / "base_hidden.safetensors")["4000/hf/2"]
        z = last @ head["final_proj.weight"].T + head["final_proj.bias"]
        rows = head["label_embs_concat"][[5, 6, 4]]  # of clusters 0, 1, 2
        cosine = torch.nn.functional.cosine_similarity(z[:, None], rows[None], dim=-1)
        STATES["logits"] = (cosine / 0.1).contiguous()

    config, state = fairseq_state("large")
    arguments = fairseq_model(config, "")
    del arguments["_name"]
    state["quantizer.vars"] = rand(1, 4, 2)
    state["project_q.weight"] = rand(2, 2)
    torch.save({"args": Namespace(arch="wav2vec2", normalize=True, **arguments), "model": state},
               OUT / "fairseq_args.pt")
    fine_tuned = {f"w2v_encoder.w2v_model.{key}": value.half() for key, value in state.items()}
    fine_tuned["w2v_encoder.proj.weight"] = rand(3, 24)
    before = {"model": fairseq_model(config, "wav2vec2"), "task": {"normalize": False}}
    cfg = {"model": {"_name": "wav2vec_ctc", "w2v_args": before, "dropout": 0.1}, "task": {"normalize": True}}
    torch.save({"args": None, "cfg": cfg, "model": fine_tuned}, OUT / "fairseq_ctc.pt")

    config, state = fairseq_state("wavlm")
    model = fairseq_model(config, "")
    model |= {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": config["num_buckets"],
              "max_distance": config["max_bucket_distance"], "normalize": False}
    torch.save({"cfg": model, "model": state}, OUT / "unilm_wavlm.pt")


# torchaudio and DPHuBERT

def to_torchaudio(key):
    if key.startswith("feature_projection."):
        return "encoder." + key
    return "encoder.transformer." + key.removeprefix("encoder.") if key.startswith("encoder.") else key


def torchaudio_models():
    finalized = json.loads((HERE / "finalized/config.json").read_text())
    tensors = load_file(HERE / "finalized/model.safetensors")
    torch.save({"config": finalized, "state_dict": tensors, "distill_linear_projs": {"0.weight": rand(2, 2)}},
               OUT / "dphubert.pth")
    gates = tensors | {"feature_extractor.conv_layers.0.hard_concrete.log_alpha": rand(4)}
    torch.save({"config": finalized, "state_dict": {k: v[:0] for k, v in gates.items()}}, OUT / "gates.pth")
    # As DPHuBERT's training writes it, which prune.py reads.
    training = {f"student_model.{name}": value[:0] for name, value in gates.items()}
    torch.save({"epoch": 1, "pytorch-lightning_version": "1.8.1", "state_dict": training}, OUT / "gates.ckpt")

    shape = dict(
        extractor_mode="layer_norm", extractor_conv_layer_config=list(zip((8,) * 7, KERNELS, STRIDES)),
        extractor_conv_bias=True, encoder_embed_dim=16, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=8,
        encoder_pos_conv_groups=2, encoder_num_layers=2, encoder_num_heads=4, encoder_attention_dropout=0.0,
        encoder_ff_interm_features=20, encoder_ff_interm_dropout=0.0, encoder_dropout=0.0,
        encoder_layer_norm_first=True, encoder_layer_drop=0.0, aux_num_out=5)
    model = torchaudio.models.wav2vec2_model(**shape).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    torch.save({"config": shape | {"normalize_waveform": True}, "state_dict": model.state_dict()},
               OUT / "torchaudio_large.pth")

    def states(wave):
        wave = torch.nn.functional.layer_norm(wave, wave.shape)
        return [state[0] for state in model.extract_features(wave[None])[0]]

    record("torchaudio_large", states)
    shape |= dict(extractor_mode="group_norm", extractor_conv_bias=False, encoder_layer_norm_first=False,
                  encoder_num_buckets=16, encoder_max_distance=40, aux_num_out=None)
    wavlm = torchaudio.models.wavlm_model(**shape).eval()
    with torch.no_grad():
        for weight in wavlm.parameters():
            weight += 0.1 * torch.randn_like(weight)
    torch.save({"config": shape | {"normalize_waveform": False}, "state_dict": wavlm.state_dict()},
               OUT / "torchaudio_wavlm.pth")
    record("torchaudio_wavlm", lambda wave: [state[0] for state in wavlm.extract_features(wave[None])[0]])


# Students

def small(**options):
    return HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, conv_dim=(12,) * 7,
        conv_kernel=KERNELS, conv_stride=STRIDES, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        initializer_range=0.2, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        feat_proj_dropout=0.0, layerdrop=0.0, attn_implementation="eager", **options)


def shaken(model):
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model.eval()


def distiller_config(config, **options):
    return {"distiller": {
        "extractor_mode": "default", "conv_pos": config.num_conv_pos_embeddings,
        "extractor_conv_feature_layers": layers_text(vars(config) | {
            "conv_dim": config.conv_dim, "conv_kernel": config.conv_kernel, "conv_stride": config.conv_stride}),
        "conv_pos_groups": config.num_conv_pos_embedding_groups, "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size, "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads, "activation_fn": "gelu", "layer_norm_first": False,
        "attention_type": "original", "dropout": 0.1, "n_tasks": 2, "pred_layer_id": [4, 12], **options},
        "teacher": {"model": "hubert_base"}, "audio": {"target_level": None},
        "task": {"sequence_length": 250000}}


def runner(config, state):
    return {
        "Optimizer": {"state": {0: {"exp_avg": rand(3)}}, "param_groups": [{"lr": 0.1}]}, "Step": 7,
        "Args": Namespace(mode="train", upstream="distiller"), "Distiller": state, "Config": config,
        "Scheduler": made(Scheduler, step=7)}


def distiller():
    config = small(feat_proj_layer_norm=False, mask_time_prob=0.0)
    model = shaken(HubertModel(config))
    state = OrderedDict((to_fairseq(plain(key), False), value) for key, value in model.state_dict().items())
    heads = {"output_layer.0.weight": rand(32, 16), "output_layer.0.bias": rand(32),
             "output_layer.2.weight": rand(2, 16, 16), "output_layer.2.bias": rand(1, 1, 2, 16)}
    torch.save(runner(distiller_config(config), {**state, **heads}), OUT / "distiller.ckpt")
    record("distiller", lambda wave: [
        state[0] for state in model(wave[None], output_hidden_states=True).hidden_states])


def fbank():
    config = small(mask_time_prob=0.0)
    config._attn_implementation = "eager"
    encoder = shaken(HubertEncoder(config))
    front = shaken(torch.nn.ModuleDict({
        "conv": torch.nn.Conv1d(80, 32, 5, stride=2, padding=2), "linear": torch.nn.Linear(16, 16)}))
    state = OrderedDict((to_fairseq("encoder." + plain(key), False), value)
                        for key, value in encoder.state_dict().items())
    doubled = {f"feature_extractor.{key}": value for key, value in state.items()}
    own = {"feature_extractor.subsample.conv_layers.0.weight": front["conv"].weight.detach(),
           "feature_extractor.subsample.conv_layers.0.bias": front["conv"].bias.detach(),
           "feature_extractor.linear.weight": front["linear"].weight.detach(),
           "feature_extractor.linear.bias": front["linear"].bias.detach(),
           "final_proj.weight": rand(6, 16), "final_proj.bias": rand(6)}
    recipe = distiller_config(config, conv_channels=16, conv_kernel_sizes="5", projection_type="type1")
    torch.save(runner(recipe, {**state, **doubled, **own}), OUT / "distiller_fbank.ckpt")
    statistics = numpy.load(OUT / "global_cmvn.npy", allow_pickle=True).tolist()

    def states(wave):
        features = torchaudio.compliance.kaldi.fbank(wave[None] * 2**15, num_mel_bins=80, sample_frequency=16000)
        features = (features - torch.tensor(statistics["mean"])) / torch.tensor(statistics["std"])
        x = torch.nn.functional.glu(front["conv"](features.float().T[None]), dim=1)
        x = front["linear"](x.transpose(1, 2))
        x = encoder.layer_norm(x + encoder.pos_conv_embed(x))
        states = [x]
        for layer in encoder.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
            states.append(x)
        return [state[0] for state in states]

    record("distiller_fbank", states)


def recipe(config, **options):
    model = fairseq_model(config, "")
    del model["_name"]
    return {
        "model": "armhubert", "teacher": {"teacher_model": "./hubert_base_ls960.pt", "mask_prob": 0.8},
        "train": {"base_dir": "./", "checkpoint": None, "lr": 5e-3, "use_fp16": True},
        "distiller": model | {"enable_tr_layer": False, "layerwise_proj": True, **options}}


def lightning():
    import yaml

    for name in ("arm", "star"):
        config, state = fairseq_state(name)
        student = {f"student_model.{key}": value for key, value in state.items()}
        teacher = {f"teacher_model.model.{key}": value[:1] for key, value in state.items()}
        extra = {"student_model.final_proj.weight": rand(4, 16), "student_model.final_proj.bias": rand(4)}
        if name == "arm":
            extra = {f"student_model.proj_head.{i}.lin_proj.weight": rand(24, 16) for i in range(4)}
        checkpoint = {
            "epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.7.7",
            "state_dict": OrderedDict({**teacher, **student, **extra}),
            "optimizer_states": [{"state": {0: {"exp_avg": rand(3)}}}], "lr_schedulers": [made(Scheduler, step=2)]}
        if name == "arm":
            pattern = str([not reused for reused in config["encoder_reuse_attention"]])
            checkpoint["hyper_parameters"] = AttributeDict(cfg=recipe(config, reuse_pattern=pattern))
        else:
            (OUT / "star.yaml").write_text(yaml.dump(recipe(config), sort_keys=False))
        torch.save(checkpoint, OUT / f"{name}.ckpt")


# Architectures that teach alone

def data2vec():
    config = Data2VecAudioConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20, conv_dim=(8,) * 7,
        conv_kernel=KERNELS, conv_stride=STRIDES, num_conv_pos_embeddings=3, conv_pos_kernel_size=5,
        num_conv_pos_embedding_groups=2, initializer_range=0.2, hidden_dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0, attn_implementation="eager")
    model = shaken(Data2VecAudioModel(config))
    model.save_pretrained(OUT / "data2vec")
    state = OrderedDict()
    for key, value in model.state_dict().items():
        if ".pos_conv_embed.layers." in key:
            key = key.replace(".pos_conv_embed.layers.", ".pos_conv.").replace(".conv.", ".0.")
        state[to_fairseq(key, True)] = value
    state["_ema"] = {"layers.0.fc1.weight": rand(2, 2)}
    described = fairseq_model(vars(config) | {
        "conv_dim": config.conv_dim, "conv_kernel": config.conv_kernel, "conv_stride": config.conv_stride,
        "feat_extract_norm": "layer"}, "data2vec_audio")
    described |= {"pos_conv_depth": 3, "conv_pos": 15}
    torch.save({"args": None, "cfg": {"model": described, "task": {"normalize": True}}, "model": state},
               OUT / "data2vec.pt")

    def states(wave):
        wave = torch.nn.functional.layer_norm(wave, wave.shape, eps=1e-7)
        return [state[0] for state in model(wave[None], output_hidden_states=True).hidden_states]

    record("data2vec", states)


def whisper():
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=20, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=4, vocab_size=8, num_mel_bins=80, init_std=0.2, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_target_positions=4,
        attn_implementation="eager")
    model = shaken(WhisperModel(config)).half().float()
    model.half().save_pretrained(OUT / "whisper")
    encoder = model.float().encoder
    extractor = WhisperFeatureExtractor()

    def encoded(mel):
        x = torch.nn.functional.gelu(encoder.conv1(mel))
        x = torch.nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)
        x = x + encoder.embed_positions.weight[:x.shape[1]]
        states = [x]
        for layer in encoder.layers:
            x = layer(x, None)
            x = x[0] if isinstance(x, tuple) else x
            states.append(x)
        states[-1] = encoder.layer_norm(x)
        return states

    def mel_of(wave):
        return extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_features

    for name, length in (("whisper", lambda wave: 3000), ("whisper_own", lambda wave: len(wave) // 160)):
        def states(wave):
            frames = (len(wave) - 400) // 320 + 1
            mel = mel_of(wave)
            whole = encoded(mel[:, :, :length(wave)])
            if name == "whisper":
                theirs = encoder(mel).last_hidden_state
                assert (theirs - whole[-1]).abs().max() < 1e-5
            return [state[0, :frames] for state in whole]

        record(name, states)


def main():
    torch.manual_seed(30)
    hugging_face()
    fairseq()
    torchaudio_models()
    distiller()
    fbank()
    lightning()
    data2vec()
    whisper()
    save_file(STATES, OUT / "states.safetensors")


main()
