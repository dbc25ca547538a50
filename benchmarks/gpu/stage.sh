#!/bin/sh
# stage.sh [CUEMBED_CHECKOUT [TORCHREC_CHECKOUT]]: fills .carry/ with what a GPU machine without a network needs besides this checkout:
# msgspec, the command line and pytest for its Python (3.12), and the rivals in one archive of 34 MB. Needs pip and a network; takes a few minutes.
set -e
cd "$(dirname "$0")/../.."
mkdir -p .carry
python3 -m pip download -q --only-binary=:all: --python-version 3.12 --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .carry msgspec typer rich pytest
set -- ${1:+--cuembed "$1"} ${2:+--torchrec "$2"}
python3 benchmarks/gpu/stage_rivals.py .carry "$@"
ls -l .carry
