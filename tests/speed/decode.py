"""FLAC to f32 at 16 kHz, ours beside libsndfile's, in turn on one core:

    python tests/speed/decode.py [ROUNDS]        # needs soundfile

Each pass reads the 84 files of data/sample/audio (17.1 minutes) whole, from memory's cache of the disk; a round takes the
best of 10 passes of each. Ours checks FLAC's MD5 besides.
"""
import glob, os, statistics, subprocess, sys, time
import soundfile

BENCH = ["cargo", "bench", "-q", "-p", "nodes", "--bench", "decode"]


def theirs():
    files = glob.glob("data/sample/audio/*.flac")
    def once(_):
        begun = time.perf_counter()
        samples = sum(len(soundfile.read(file, dtype="float32")[0]) for file in files)
        return samples / 16000 / (time.perf_counter() - begun)
    return max(map(once, range(10)))


subprocess.run([*BENCH, "--no-run"], check=True)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
pairs = [(float(subprocess.check_output(BENCH)), theirs()) for _ in range(rounds)]
ours, libsndfile = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
print(f"ours {ours:.0f} s of audio a second, libsndfile {soundfile.__libsndfile_version__} {libsndfile:.0f}, ratio {ratio:.2f}")
