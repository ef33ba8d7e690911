#!/bin/sh
# Rebuilds the PTX of the feature tests, for both architectures, from the CUDA beside it; needs nvcc 13.
cd "$(dirname "$0")" || exit 1
for f in "${@:-*.cu}"; do
  for f in $f; do
    for arch in 80 90; do nvcc -ptx -lineinfo -arch=sm_$arch -O3 --std=c++17 -o "${f%.cu}.sm_$arch.ptx" "$f" || exit 1; done
  done
done
