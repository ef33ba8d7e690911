#!/bin/sh
# Rebuilds the PTX of CheckerTest from the CUDA beside it, with the lines it comes from and files without their folders; needs nvcc 13.
cd "$(dirname "$0")" || exit 1
for f in *.cu; do
  nvcc -ptx -lineinfo -arch=sm_80 -O3 --std=c++17 -o "${f%.cu}.ptx" "$f" || exit 1
  sed -i -E -e 's/^(\t\.file\t[0-9]+ ").*\//\1/' -e 's/, function_name .*//' -e '/^\t\.section\t\.debug_str/,/^\t\}/d' "${f%.cu}.ptx" || exit 1
done
