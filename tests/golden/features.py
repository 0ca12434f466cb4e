"""Write fbank.safetensors: log-mel frames and cepstra of a second of speech, by torchaudio and by Kaldi's own arithmetic.

    python tests/golden/features.py        # needs torchaudio, kaldi-native-fbank, soundfile

torchaudio computes in f64 (its filters are f32), kaldi-native-fbank in f32. README.md lists the keys.
"""

from pathlib import Path

import kaldi_native_fbank
import numpy
import soundfile
import torch
from safetensors.torch import save_file
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas

HERE = Path(__file__).parent
SPEECH = HERE.parent.parent / "data/sample/audio/254-12312-0000.flac"


def native(samples, bins):
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = bins
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(16000, samples.tolist())
    fbank.input_finished()
    return torch.from_numpy(numpy.stack([fbank.get_frame(t) for t in range(fbank.num_frames_ready)]))


def main():
    samples = soundfile.read(SPEECH, dtype="float32")[0][:16000] * 32768
    row = torch.from_numpy(samples).double()[None]
    mfcc = kaldi.mfcc(row)
    deltas = compute_deltas(mfcc.T)
    tensors = {f"torchaudio/{bins}": kaldi.fbank(row, num_mel_bins=bins) for bins in (23, 80)}
    tensors |= {f"kaldi/{bins}": native(samples, bins) for bins in (23, 80)}
    tensors["mfcc"] = torch.cat([mfcc, deltas.T, compute_deltas(deltas).T], 1)
    save_file({key: value.float().contiguous() for key, value in tensors.items()}, HERE / "fbank.safetensors")


main()
