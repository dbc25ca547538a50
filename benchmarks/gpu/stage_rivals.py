"""Which files of its rivals does a GPU machine without a network need? Packs them into one small archive.

    python benchmarks/gpu/stage_rivals.py carry/ --cuembed CHECKOUT --torchrec CHECKOUT

`carry/rivals.tar.xz` then holds a `site` folder for PYTHONPATH (FBGEMM's inference and forward libraries, TorchRec's
Triton tables) and cuEmbed's headers. FBGEMM's wheel is 443 MB: libraries that only train are left out, and machine code
for other GPUs is blanked inside those that stay, where the driver never reads it. Nothing of it belongs in a commit.

A checkout is a folder, or a git repository without a work tree.
"""

from __future__ import annotations

import argparse
import ast
import lzma
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

FBGEMM = "fbgemm-gpu==1.6.0"
"""For torch 2.11 and CUDA 13.0, by FBGEMM's own table of releases."""
TRAINS = ("backward", "optimizers", "index_select")
LOADED = (
    "fbgemm_gpu_config",
    "fbgemm_gpu_tbe_utils",
    "fbgemm_gpu_tbe_cache",
    "fbgemm_gpu_tbe_inference",
    "fbgemm_gpu_tbe_training_forward",
    "fbgemm_gpu_py",
)
TORCHREC_FILES = (
    "torchrec/distributed/triton_tbe/triton_table_batched_embeddings.py",
    "torchrec/distributed/triton_tbe/triton_tbe_backward_long_run_fused.py",
    "torchrec/distributed/triton_tbe/triton_tbe_backward_utils.py",
)
ABSENT = "ads_mkl.ops.triton.amd.triton_table_batched_embeddings"
"""A module for other GPUs that TorchRec's files import and nobody outside has."""
CUEMBED_FOLDER = "cuembed/include"

_FATBIN, _ENTRY = struct.Struct("<IHHQ"), struct.Struct("<HHIQ")
_MAGIC, _MACHINE_CODE = 0xBA55ED50, 2
_ARCHITECTURE_AT = 28


def main() -> None:
    options = arguments()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        site = Path(place) / "site"
        site.mkdir()
        if not options.without_fbgemm:
            stage_fbgemm(Path(place), site, options.architecture)
        if options.torchrec:
            stage_torchrec(options.torchrec, site)
        if options.cuembed:
            stage_cuembed(options.cuembed, Path(place) / "cuembed_headers")
        packed = folder / "rivals.tar.xz"
        pack(Path(place), packed)
    print(f"{packed}: {packed.stat().st_size / 1e6:.1f} MB")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the archive goes; keep it out of the repository")
    parser.add_argument("--architecture", type=int, default=90, help="of the GPU, such as 90")
    parser.add_argument("--torchrec", type=Path, help="a checkout of TorchRec")
    parser.add_argument("--cuembed", type=Path, help="a checkout of cuEmbed")
    parser.add_argument("--without-fbgemm", action="store_true")
    return parser.parse_args()


def stage_fbgemm(place: Path, site: Path, architecture: int) -> None:
    """FBGEMM's wheel without what only trains and without machine code for other GPUs."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]
    subprocess.run([*command, "-d", str(place), FBGEMM], check=True)
    (wheel,) = place.glob("fbgemm_gpu-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [name for name in archive.namelist() if wanted(name)])
    wheel.unlink()
    for library in (site / "fbgemm_gpu").glob("*.so"):
        code = bytearray(library.read_bytes())
        kept, blanked = keep_architecture(code, architecture)
        library.write_bytes(code)
        print(f"{library.name}: {kept >> 20} MB of code for sm_{architecture} kept, {blanked >> 20} MB blanked")
    start = site / "fbgemm_gpu" / "__init__.py"
    start.write_text(with_libraries(start.read_text(), LOADED))


def wanted(name: str) -> bool:
    """Whether a file of the wheel is needed to look up."""
    if not name.startswith("fbgemm_gpu/"):
        return False
    return not (name.endswith(".so") and any(part in name for part in TRAINS))


def keep_architecture(code: bytearray, architecture: int) -> tuple[int, int]:
    """Blank everything in a library's fat binaries but machine code for `architecture`; bytes kept and blanked."""
    kept = blanked = 0
    for start, nbytes, kind, found in entries(code):
        if kind == _MACHINE_CODE and found == architecture:
            kept += nbytes
        else:
            code[start : start + nbytes] = bytes(nbytes)
            blanked += nbytes
    return kept, blanked


def entries(code: bytes | bytearray) -> Iterator[tuple[int, int, int, int]]:
    """Where each entry's content begins in a library, its bytes, its kind and its architecture."""
    magic = struct.pack("<I", _MAGIC)
    at = code.find(magic)
    while at >= 0:
        _, version, header, nbytes = _FATBIN.unpack_from(code, at)
        if (version, header) != (1, _FATBIN.size) or at + header + nbytes > len(code):
            at = code.find(magic, at + 4)
            continue
        entry, end = at + header, at + header + nbytes
        while entry < end:
            kind, _, head, size = _ENTRY.unpack_from(code, entry)
            (architecture,) = struct.unpack_from("<I", code, entry + _ARCHITECTURE_AT)
            yield entry + head, size, kind, architecture
            entry += head + size
        at = code.find(magic, end)


def with_libraries(text: str, names: tuple[str, ...]) -> str:
    """FBGEMM's `__init__` with a shorter list of libraries to load."""
    for node in ast.parse(text).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id == "fbgemm_gpu_libraries" for target in targets
        ):
            lines = text.splitlines(keepends=True)
            assert node.end_lineno is not None
            made = f"fbgemm_gpu_libraries = {list(names)!r}\n"
            return "".join((*lines[: node.lineno - 1], made, *lines[node.end_lineno :]))
    raise SystemExit("FBGEMM's __init__ names its libraries in another way than in 1.6.0: look at it.")


def stage_torchrec(checkout: Path, site: Path) -> None:
    """The files behind TorchRec's Triton tables, and names in place of the module that is not public."""
    for name in TORCHREC_FILES:
        put(site / name, read(checkout, name))
    asked = sorted({name for file in TORCHREC_FILES for name in names_from(read(checkout, file), ABSENT)})
    body = '"""Stands in for a module that is not public; nothing of it is used on NVIDIA GPUs."""\n\n'
    put(site / (ABSENT.replace(".", "/") + ".py"), body + "".join(f"{name} = None\n" for name in asked))


def names_from(text: str, module: str) -> list[str]:
    """What a file imports from `module`."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module == module]
    return [alias.name for node in found for alias in node.names]


def stage_cuembed(checkout: Path, target: Path) -> None:
    """cuEmbed's headers."""
    for name in files(checkout, CUEMBED_FOLDER):
        put(target / name, read(checkout, name))


def bare(checkout: Path) -> bool:
    """Whether it is a git repository without a work tree."""
    return (checkout / "HEAD").is_file() and (checkout / "objects").is_dir()


def files(checkout: Path, folder: str) -> list[str]:
    """The files of a folder of a checkout."""
    if not bare(checkout):
        return [str(path.relative_to(checkout)) for path in sorted((checkout / folder).rglob("*")) if path.is_file()]
    command = ["git", "-C", str(checkout), "ls-tree", "-r", "--name-only", "HEAD", folder]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def read(checkout: Path, name: str) -> str:
    """A file of a checkout."""
    if not bare(checkout):
        return (checkout / name).read_text()
    command = ["git", "-C", str(checkout), "show", f"HEAD:{name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pack(place: Path, target: Path) -> None:
    """All of `place` in one archive."""
    with lzma.open(target, "wb", preset=5) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for child in sorted(place.iterdir()):
            archive.add(child, arcname=child.name)


if __name__ == "__main__":
    main()
