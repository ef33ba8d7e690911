#!/bin/sh
# Rebuilds the PTX of the tests from the CUDA beside it; needs nvcc 13.
cd "$(dirname "$0")" && for f in *.cu; do nvcc -ptx -arch=sm_80 -O3 --std=c++17 -o "${f%.cu}.ptx" "$f" || exit 1; done
