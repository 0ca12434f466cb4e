"""k-means on noisy points of low rank around centres, ours beside scikit-learn's MiniBatchKMeans, in turn:

    python tests/speed/kmeans.py [POINTS [WIDTH [CLUSTERS [ROUNDS]]]]        # needs numpy and scikit-learn

Ours passes `cluster`'s default number of times over the points in its default mini-batches; scikit-learn's is as in
HuBERT's recipe (fairseq's learn_kmeans.py) with one start instead of 20. Inertia is measured after the clock has stopped.
"""
import os, subprocess, sys, tempfile, time

import numpy
from sklearn.cluster import MiniBatchKMeans

os.environ["CARGO_TERM_QUIET"] = "true"
BATCH, PASSES = 10_000, 10
POINTS, WIDTH, CLUSTERS, ROUNDS = (int(a) for a in [*sys.argv[1:], *"1000000 768 500 3".split()[len(sys.argv) - 1:]])


def points():
    """Noise around 2000 centres, both less in each dimension than in the one before."""
    chance = numpy.random.default_rng(0)
    scales = (1 / numpy.sqrt(1 + numpy.arange(WIDTH))).astype("f4")
    centres = chance.standard_normal((2000, WIDTH), "f4") * scales
    return centres[chance.integers(0, 2000, POINTS)] + chance.standard_normal((POINTS, WIDTH), "f4") * scales


def theirs(x):
    begun = time.perf_counter()
    model = MiniBatchKMeans(CLUSTERS, max_iter=100, batch_size=BATCH, tol=0.0, max_no_improvement=100, n_init=1,
                            reassignment_ratio=0.0, random_state=0).fit(x)
    return time.perf_counter() - begun, -model.score(x)


def main():
    x = points()
    with tempfile.NamedTemporaryFile() as file:
        x.tofile(file)
        numbers = map(str, (WIDTH, CLUSTERS, BATCH, PASSES))
        command = ["cargo", "bench", "-p", "nodes", "--bench", "kmeans", "--", file.name, *numbers]
        subprocess.run([*command[:6]], check=True, capture_output=True)
        for _ in range(ROUNDS):
            own = tuple(map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))
            other = theirs(x)
            print(f"ours {own[0]:.1f} s, scikit-learn {other[0]:.1f} s; inertia {own[1] / other[1]:.4f} of scikit-learn's")


main()
