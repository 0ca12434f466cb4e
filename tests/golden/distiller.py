"""Compare formats/distiller*.ckpt as TCL606/s3prl's own modules compute them with formats/states.safetensors.

    python tests/golden/distiller.py S3PRL FAIRSEQ     # torch, torchaudio, numpy, safetensors

S3PRL is a checkout of TCL606/s3prl, FAIRSEQ one of fairseq, whose convolution over log-mel frames the former uses. Makes no
file, and exits with 1 if a number differs by more than 1e-4.
"""
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy
import torch
from safetensors.torch import load_file

OUT = Path(__file__).parent / "formats"
S3PRL, FAIRSEQ = (Path(path).resolve() for path in sys.argv[1:3])


def stub(name, path=None, **names):
    """Adds a module with these names, and a package of the files in `path` if it is given."""
    module = sys.modules[name] = ModuleType(name)
    if path:
        module.__path__ = [str(path)]
    vars(module).update(names)


def own_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


for package in ("fairseq", "fairseq.data", "fairseq.data.audio", "fairseq.models"):
    stub(package)
stub("fairseq.data.audio.waveform_transforms", CompositeAudioWaveformTransform=None)
audio_utils = own_file(FAIRSEQ / "fairseq/data/audio/audio_utils.py")
convolution = own_file(FAIRSEQ / "fairseq/models/speech_to_text/modules/convolution.py")
sys.modules["fairseq.data.audio.audio_utils"] = audio_utils
stub("fairseq.models.speech_recognition", Conv1dSubsampler=convolution.Conv1dSubsampler)
stub("s3prl", S3PRL / "s3prl")
stub("s3prl.upstream", S3PRL / "s3prl/upstream")
for package in ("distiller", "distiller_fbank", "wav2vec2"):
    stub(f"s3prl.upstream.{package}", S3PRL / "s3prl/upstream" / package)
# A class that the checkpoints' schedule pickles as.
stub("s3prl.optimizers", Schedule=type("Schedule", (), {"__module__": "s3prl.optimizers"}))
# The code names a file of its authors and a GPU.
load = numpy.load
numpy.load = lambda path, **options: load(OUT / Path(path).name, **options)
torch.Tensor.cuda = lambda tensor: tensor


def states(name, waves):
    """Returns the hidden states for each waveform, (1 + layers, frames, width): the first is what layer 1 reads."""
    checkpoint = torch.load(OUT / f"{name}.ckpt", weights_only=False)
    code = importlib.import_module(f"s3prl.upstream.{name}.model")
    config = checkpoint["Config"]["distiller"]
    model = code.DistillerModel(code.DistillerConfig(config | {"final_dim": config["encoder_embed_dim"]})).eval()
    is_head = lambda key: key.startswith(("final_proj.", "output_layer."))
    encoder = {key: tensor for key, tensor in checkpoint["Distiller"].items() if not is_head(key)}
    found = model.load_state_dict(encoder, strict=False)
    assert all(map(is_head, found.missing_keys)) and not found.unexpected_keys, found
    lengths = [] if name == "distiller" else [[len(wave)] for wave in waves]
    read = []
    model.encoder.layers[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].transpose(0, 1)))
    for i, wave in enumerate(waves):
        with torch.no_grad():
            arguments = [wave[None], *lengths[i : i + 1], torch.ones(1, len(wave))]
            layers = model(*arguments, get_hidden=True, no_pred=True)[4]
        yield torch.cat([read.pop(), *layers])


def main():
    audio = load_file(OUT.parent / "base_hidden.safetensors")
    lengths = sorted(int(key.split("/")[0]) for key in audio if key.endswith("/audio"))
    expected = load_file(OUT / "states.safetensors")
    worst = 0.0
    for name in ("distiller", "distiller_fbank"):
        waves = [audio[f"{n}/audio"] for n in lengths]
        for n, layers in zip(lengths, states(name, waves)):
            for layer, state in enumerate(layers):
                difference = (state - expected[f"{name}/{n}/{layer}"]).abs().max().item()
                print(f"{name}, {n} samples, layer {layer}: {difference:.1e} of {state.abs().max():.1f}")
                worst = max(worst, difference)
    sys.exit(worst > 1e-4)


main()
