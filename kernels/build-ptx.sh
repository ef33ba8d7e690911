#!/usr/bin/env bash
# Compiles every src/main/cuda/*.cu to the PTX text that the engine launches, then has ptxas assemble it for each supported architecture.
#
#   kernels/build-ptx.sh            rebuild all, write the PTX, check that no kernel spills registers
#   kernels/build-ptx.sh NAME...    the same for src/main/cuda/NAME.cu only
#   kernels/build-ptx.sh --check    rebuild into a temporary folder, compare with the committed text, check for spills; writes nothing
#
# ptxas.txt keeps what ptxas gave each kernel on sm_80, sm_90 and sm_100 (registers of a thread, bytes of static shared memory of a block, bytes spilled), for
# estimates where there is no ptxas.
#
# Needs nvcc 13 and ptxas on PATH; nothing else in the build does. The text is what nvcc writes, made the same for every checkout: the two hashes of the folder's
# path in the names of what is in an anonymous namespace become zeros, source files lose their folders, and of inlined code only its own line is kept, since
# the names of the functions it was inlined into hold those hashes too.
set -euo pipefail
cd "$(dirname "$0")/src/main/cuda"
out=../resources/dev/turningpoint/kernels
architectures="80 86 89 90 100 120"
check=
[ "${1-}" = --check ] && { check=1; shift; }
[ $# -gt 0 ] || set -- $(ls ./*.cu | xargs -n1 basename -s .cu)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# Rows of ptxas.txt: module, kernel, architecture, registers, shared memory, spills
resources() { # name
  for sm in 80 90 100; do
    awk -v module="$1" -v sm=$sm '
      /Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2] }
      /bytes stack frame/ { spills = $1 + $5 + $9 }
      /Used [0-9]+ registers/ {
        shared = 0
        for (i = 2; i <= NF; i++) { if ($i ~ /^smem/) shared = $(i - 2); if ($i == "registers,") registers = $(i - 1) }
        print module, kernel, sm, registers, shared, spills
      }' "$work/$1.$sm.log"
  done | sort -k2,2 -k3,3n
}

build() { # name
  nvcc -ptx -lineinfo -arch=sm_80 -O3 --std=c++17 "$1.cu" -o "$work/$1.raw" || { echo "$1.cu: nvcc failed" >&2; return 1; }
  sed -E -e 's/_[0-9a-f]{8}_([0-9]+_[a-z]+(_[a-z]+[0-9]+)?_cu)_[0-9a-f]{8}/_00000000_\1_00000000/g' -e 's/^(\t\.file\t[0-9]+ ").*\//\1/' -e 's/, function_name .*//' \
      -e '/^\t\.section\t\.debug_str/,/^\t\}/d' "$work/$1.raw" >"$work/$1.ptx"
  for sm in $architectures; do
    ptxas -arch="sm_$sm" -v "$work/$1.ptx" -o /dev/null 2>"$work/$1.$sm.log" || { echo "$1.ptx: ptxas sm_$sm failed:" >&2; cat "$work/$1.$sm.log" >&2; return 1; }
    if grep -B2 -E '[1-9][0-9]* bytes (stack frame|spill)' "$work/$1.$sm.log" >&2; then echo "$1.cu: spills or uses local memory on sm_$sm (above)" >&2; return 1; fi
  done
  resources "$1" >"$work/$1.rows"
  if [ -n "$check" ]; then
    diff <(grep "^$1 " "$out/ptxas.txt") "$work/$1.rows" >/dev/null || { echo "ptxas.txt differs from what ptxas says of $1.cu; run kernels/build-ptx.sh" >&2; return 1; }
    diff -q "$work/$1.ptx" "$out/$1.ptx" >/dev/null || { echo "$1.ptx differs from what nvcc makes of $1.cu; run kernels/build-ptx.sh" >&2; return 1; }
  else
    cmp -s "$work/$1.ptx" "$out/$1.ptx" || cp "$work/$1.ptx" "$out/$1.ptx"
    { echo "# module kernel sm registers shared spills, by $(ptxas --version | grep -o 'release [0-9.]*') of ptxas; made by kernels/build-ptx.sh"
      { grep -v "^#\|^$1 " "$out/ptxas.txt" 2>/dev/null; cat "$work/$1.rows"; } | sort -s -k1,1; } >"$work/ptxas.txt"
    cmp -s "$work/ptxas.txt" "$out/ptxas.txt" || cp "$work/ptxas.txt" "$out/ptxas.txt"
  fi
  echo "$1: $(grep -c '^\.visible .entry\|^	*\.entry' "$work/$1.ptx") kernels, no spills on sm_{${architectures// /,}}"
}

failed=0
for name in "$@"; do build "$name" || failed=1; done
exit $failed
