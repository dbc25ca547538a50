#!/usr/bin/env bash
# Native builds under sanitizers, on every instruction set that this machine can run or emulate.
#   csrc/check_native.sh quick   AddressSanitizer and UBSan, scalar and the best target; counted instructions: what CI runs
#   csrc/check_native.sh all     also every other target, ThreadSanitizer, NEON under qemu, libFuzzer, Python's parity tests
# What a machine lacks (qemu, a cross compiler, clang++) is named and skipped, except with REQUIRE_ALL=1.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-all}
jobs=${JOBS:-$(nproc)}
python=${PYTHON:-python3}
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

build() {  # build DIRECTORY CMAKE_OPTION...: optimising sanitized kernels takes longer than running them
  local directory=$1
  shift
  cmake -S . -B "$directory" -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DRECSMITH_PYTHON=OFF -DRECSMITH_TESTS=ON "$@" >/dev/null
  cmake --build "$directory" -j "$jobs" >"$directory/build.log" 2>&1 || { tail -40 "$directory/build.log"; exit 1; }
}

step() {
  printf '== %s\n' "$*"
}

lacking() {
  printf '!! skipped: %s is not installed\n' "$1"
  [ "${REQUIRE_ALL:-0}" = 0 ] || exit 1
}

best_target() {
  build-asan/fuzz_kernels --inputs 0 | awk '{print $NF}'
}

# A table that is looked up without prefetch is right and slow, which no other test sees: optimisers have dropped them.
prefetches_remain() {
  local object=build-asan/prefetches.o function
  g++ -std=c++20 -O3 -Icsrc -x c++ -c - -o "$object" <<'SOURCE'
#include "lookup/menu.hpp"
#include "simd/scalar.hpp"
using namespace recsmith;
Kernel<std::int64_t> choose(Flow flow, std::int32_t dim) {
  return kernel_of_type<simd::Scalar, RowType::int8, std::int64_t>(flow, dim);
}
SOURCE
  local found=0
  for function in $(nm "$object" | awk '$3 ~ /gather/ && $3 ~ /Lb1E/ {print $3}'); do
    found=1
    # No grep -q: it would end objdump by a broken pipe.
    objdump -d --disassemble="$function" "$object" | grep -E 'prefetch|prfm' >/dev/null || {
      echo "no prefetch in $function"
      exit 1
    }
  done
  [ "$found" = 1 ] || { echo "no far gather in $object"; exit 1; }
}

# Drivers of other areas: each runs on its own with no arguments.
other_drivers() {
  local driver
  for driver in csrc/tests/*_test.cpp; do
    [ -f "$driver" ] || continue
    "$1/$(basename "$driver" .cpp)"
  done
}

quick() {
  step "AddressSanitizer and UBSan"
  build build-asan -DRECSMITH_SANITIZE=address,undefined
  prefetches_remain
  build-asan/fuzz_kernels --inputs "${INPUTS:-3000}" --targets "scalar,$(best_target)"
  other_drivers build-asan
  step "Instructions a row"
  "$python" csrc/count_instructions.py
}

threads() {
  step "ThreadSanitizer"
  build build-tsan -DRECSMITH_SANITIZE=thread
  build-tsan/fuzz_kernels --inputs 2000 --threads 4
  other_drivers build-tsan
}

neon() {
  step "NEON under qemu"
  command -v aarch64-linux-gnu-g++ >/dev/null || { lacking aarch64-linux-gnu-g++; return; }
  command -v qemu-aarch64 >/dev/null || { lacking qemu-aarch64; return; }
  build build-neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS_RELEASE=-O2
  qemu-aarch64 -L /usr/aarch64-linux-gnu build-neon/fuzz_kernels --inputs 1500 --targets neon,scalar
}

libfuzzer() {
  step "libFuzzer"
  command -v clang++ >/dev/null || { lacking clang++; return; }
  # Distributions package the runtime apart from the compiler.
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null ||
    { lacking "clang++'s sanitizer runtime (libclang-rt-dev)"; return; }
  build build-fuzz -DCMAKE_CXX_COMPILER=clang++ -DRECSMITH_SANITIZE=fuzzer-no-link,address,undefined
  clang++ -std=c++20 -O1 -g1 -Icsrc -DRECSMITH_LIBFUZZER -fsanitize=fuzzer,address,undefined csrc/tests/fuzz_kernels.cpp \
    $(find build-fuzz/CMakeFiles/recsmith_core.dir -name '*.o') -o build-fuzz/libfuzzer_kernels
  mkdir -p build-fuzz/corpus
  build-fuzz/libfuzzer_kernels -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -len_control=0 -print_final_stats=1 \
    build-fuzz/corpus 2>&1 | tail -12
}

python_under_asan() {
  step "Python's parity tests under AddressSanitizer"
  cmake -S . -B build-asan-python -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DRECSMITH_SANITIZE=address \
    -DPython_EXECUTABLE="$(command -v "$python")" -DRECSMITH_OUTPUT="$PWD/build-asan-python/package" >/dev/null
  cmake --build build-asan-python -j "$jobs" >build-asan-python/build.log 2>&1 || { tail -40 build-asan-python/build.log; exit 1; }
  rm -rf build-asan-python/site
  mkdir -p build-asan-python/site
  cp -r src/recsmith build-asan-python/site/
  rm -f build-asan-python/site/recsmith/_native*.so
  cp build-asan-python/package/_native*.so build-asan-python/site/recsmith/
  # libstdc++ too: Python does not bring it, and AddressSanitizer has to find what throws exceptions when it starts.
  libraries="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libstdc++.so)"
  ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$libraries" \
    PYTHONPATH=$PWD/build-asan-python/site "$python" -m pytest -q --capture=sys -o pythonpath= -p no:cacheprovider tests/parity
}

case $mode in
  quick) quick ;;
  all)
    quick
    step "all targets"
    build-asan/fuzz_kernels --inputs "${INPUTS:-3000}" --seed 2
    threads
    neon
    libfuzzer
    python_under_asan
    ;;
  *)
    echo "usage: $0 quick|all" >&2
    exit 2
    ;;
esac
echo "check_native $mode: passed"
