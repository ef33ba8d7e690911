#!/usr/bin/env bash
# Compiles src/main/cuda/triad.cu to the PTX text that the bench launches. Needs nvcc 13 on PATH; nothing else in the build does.
set -euo pipefail
cd "$(dirname "$0")/src/main"
nvcc -ptx -arch=sm_80 -O3 --std=c++17 cuda/triad.cu -o resources/dev/turningpoint/bench/triad.ptx
