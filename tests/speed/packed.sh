#!/bin/sh
# Real-time factors of two builds of the program in turn, on rows of 15 s and of 2 s, by threads and precision:
#
#     tests/speed/packed.sh BEFORE AFTER MODEL      builds of the program, a model's folder; needs python3 with numpy
set -eu
before=$(realpath "$1") after=$(realpath "$2") model=$(realpath "$3")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 - << 'END'
import numpy, wave
noise = numpy.random.default_rng(0)
for name, seconds, count in (("long", 15, 6), ("short", 2, 30)):
    for i in range(count):
        with wave.open(f"{name}{i}.wav", "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", None))
            file.writeframes((noise.standard_normal(16000 * seconds) * 3000).astype("<i2").tobytes())
END
for threads in 1 2; do
  for rows in long short; do
    for precision in f32 bf16; do
      for build in "$before" "$after" "$before" "$after"; do
        factor=$(RAYON_NUM_THREADS=$threads taskset -c 0-$((threads - 1)) "$build" extract "$model" $rows*.wav --layers -1 \
          --precision $precision --out out.parquet 2>&1 | grep -o 'real-time factor [0-9.]*')
        echo "$threads threads, $rows, $precision, $build: $factor"
      done
    done
  done
done
