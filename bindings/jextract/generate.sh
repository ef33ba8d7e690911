#!/usr/bin/env bash
# Regenerates the committed bindings in src/main/java/dev/turningpoint/bindings/{cuda,cublaslt,llvm,onednn}.
#
#   CUDA_INCLUDE=/usr/local/cuda/include LLVM_INCLUDE=... ONEDNN_INCLUDE=... bindings/jextract/generate.sh [cuda|cublaslt|llvm|onednn ...]
#
# Needs a `jextract` on PATH (for JDK 25). Header folders, by environment:
#   CUDA_INCLUDE      cuda.h of CUDA 13                                          (default /usr/local/cuda/include)
#   CUBLASLT_INCLUDE  cublasLt.h of cuBLAS 13, beside it or in CUDA_INCLUDE       (default CUDA_INCLUDE)
#   LLVM_INCLUDE      holds llvm-c/, as in org/bytedeco/llvm/linux-x86_64/include of the llvm jar
#   ONEDNN_INCLUDE    holds oneapi/dnnl/, as in org/bytedeco/dnnl/linux-x86_64/include of the dnnl jar
#
# What is bound stands in <library>.includes. One line of the output is ours: SYMBOL_LOOKUP asks NativeLibrary, so that the same classes
# run on the real library or on the software GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
java=$here/../src/main/java
package=dev.turningpoint.bindings
: "${CUDA_INCLUDE:=/usr/local/cuda/include}" "${CUBLASLT_INCLUDE:=$CUDA_INCLUDE}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# generate <package> <class> <NativeLibrary constant> <headers, one #include each> <-I folders...>
generate() {
    local name=$1 class=$2 library=$3 headers=$4 include=()
    shift 4
    for folder; do include+=(-I "$folder"); done
    for header in $headers; do echo "#include <$header>"; done > "$work/$name.h"
    echo "$package.$name"
    rm -rf "$work/$name"
    jextract --output "$work/$name" --target-package "$package.$name" --header-class-name "$class" "${include[@]}" \
        "@$here/$name.includes" "$work/$name.h" 2> "$work/$name.log" || { cat "$work/$name.log" >&2; exit 1; }
    local folder=$work/$name/${package//.//}/$name
    perl -0pi -e 's/static final SymbolLookup SYMBOL_LOOKUP = .*?;/static final SymbolLookup SYMBOL_LOOKUP = dev.turningpoint.bindings.NativeLibrary.'"$library"'.symbols();/s; s/[ \t]+$//mg' "$folder"/*.java
    [ "$(grep -l "NativeLibrary.$library.symbols()" "$folder"/*.java | wc -l)" = 1 ] || { echo "$name: expected one SYMBOL_LOOKUP to replace" >&2; exit 1; }
    find "$java/${package//.//}/$name" -name '*.java' ! -name package-info.java -delete 2> /dev/null || true
    mkdir -p "$java/${package//.//}/$name"
    cp "$folder"/*.java "$java/${package//.//}/$name/"
}

for library in ${*:-cuda cublaslt llvm onednn}; do
    case $library in
        cuda)     generate cuda Cuda CUDA cuda.h "$CUDA_INCLUDE" ;;
        cublaslt) generate cublaslt CublasLt CUBLASLT cublasLt.h "$CUBLASLT_INCLUDE" "$CUDA_INCLUDE" ;;
        llvm)     generate llvm Llvm LLVM "llvm-c/Core.h llvm-c/Analysis.h llvm-c/BitReader.h llvm-c/BitWriter.h llvm-c/Error.h llvm-c/ErrorHandling.h
                      llvm-c/IRReader.h llvm-c/LLJIT.h llvm-c/Linker.h llvm-c/Object.h llvm-c/Orc.h llvm-c/OrcEE.h llvm-c/Support.h llvm-c/Target.h
                      llvm-c/TargetMachine.h llvm-c/Transforms/PassBuilder.h" "${LLVM_INCLUDE:?holds llvm-c/}" ;;
        onednn)   generate onednn OneDnn ONEDNN oneapi/dnnl/dnnl.h "${ONEDNN_INCLUDE:?holds oneapi/dnnl/}" ;;
        *)        echo "unknown library '$library': cuda, cublaslt, llvm or onednn" >&2; exit 2 ;;
    esac
done
