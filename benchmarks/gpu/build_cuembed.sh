#!/bin/sh
# build_cuembed.sh HEADERS OUT.so: cuEmbed's headers (staged by stage_rivals.py) and the shim beside this, for the GPU that is here.
set -e
here=$(cd "$(dirname "$0")" && pwd)
nvcc -O3 -std=c++17 -arch=sm_90 -shared -Xcompiler -fPIC -cudart shared -I"$1" -o "$2" "$here/cuembed_shim.cu"
