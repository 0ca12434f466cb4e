"""Log-mel frames of 30 s of noise, ours beside torchaudio's, in turn on one core:

    python tests/speed/fbank.py [ROUNDS]        # needs torch and torchaudio; a few seconds a round

A round is 100 passes of each; the fastest counts, because nothing makes a pass faster but many things make it slower.
"""
import os, statistics, subprocess, sys, time

os.environ["CARGO_TERM_QUIET"] = "true"
ours = ["cargo", "bench", "-p", "nodes", "--bench", "fbank"]


def torchaudio():
    import torch
    from torchaudio.compliance import kaldi

    torch.set_num_threads(1)
    samples, seconds = 3276.8 * torch.randn(1, 480000), []
    for _ in range(100):
        begun = time.perf_counter()
        kaldi.fbank(samples, num_mel_bins=80)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    subprocess.run(ours, check=True, capture_output=True)
    ratios = []
    for _ in range(rounds):
        own, theirs = float(subprocess.run(ours, check=True, capture_output=True, text=True).stdout), torchaudio()
        ratios.append(theirs / own)
        print(f"ours {1000 * own:.2f} ms, torchaudio {1000 * theirs:.2f} ms, {ratios[-1]:.2f} times its speed")
    print(f"median {statistics.median(ratios):.2f}")


main()
