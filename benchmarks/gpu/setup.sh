# Sourced by every script here, in the root of the checkout, on the machine with the GPU: packages that came along, rivals, caches.
export PYTHONUNBUFFERED=1 PLACE="${TMPDIR:-/tmp}/recsmith"
export RECSMITH_CACHE="$PLACE/cache" TRITON_CACHE_DIR="$PLACE/triton" TORCHINDUCTOR_CACHE_DIR="$PLACE/inductor"
mkdir -p "$PLACE/site" "$PLACE/rivals" "${OUT:=$PWD/out}"
export OUT
if ! python3 -c 'import msgspec, typer, rich, pytest' 2>/dev/null; then
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$PLACE/site" .carry/*.whl || exit 1
fi
export PYTHONPATH="$PWD/src:$PLACE/site:$PLACE/rivals/site"
rivals() {
  if [ ! -d "$PLACE/rivals/site" ] && [ -f .carry/rivals.tar.xz ]; then
    xz -dc -T0 .carry/rivals.tar.xz | tar x -C "$PLACE/rivals"
  fi
  if [ -d "$PLACE/rivals/cuembed_headers" ] && [ ! -f "$PLACE/libcuembed.so" ]; then
    sh benchmarks/gpu/build_cuembed.sh "$PLACE/rivals/cuembed_headers" "$PLACE/libcuembed.so" || echo "cuEmbed did not build"
  fi
}
export RECSMITH_CUEMBED="$PLACE/libcuembed.so"
python3 - <<'END'
import platform, numpy, msgspec
print("python", platform.python_version(), "numpy", numpy.__version__, "msgspec", msgspec.__version__)
END
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,pcie.link.gen.current,pcie.link.width.current --format=csv,noheader || true
