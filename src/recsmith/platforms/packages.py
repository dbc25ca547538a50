"""Optional packages: which are installed, and which installed pairs do not go together."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from .finding import Finding

# Distribution name, what it is for, and the extra that brings it.
OPTIONAL = (
    ("torch", "dense parts, import of PyTorch checkpoints", "torch"),
    ("pyarrow", "Parquet", "data"),
    ("highspy", "planner 'ilp'", "plan"),
    ("numba", "rival in benchmarks", "peers"),
    ("onnx", "rival in benchmarks", "peers"),
    ("onnxruntime", "rival in benchmarks", "peers"),
    ("fbgemm-gpu-cpu", "rival in benchmarks", "peers"),
    ("zentorch", "rival in benchmarks", "peers"),
)
# fbgemm-gpu-cpu's wheels declare no torch, yet each is built for one minor version: 1.8 for 2.13, 1.9 for 2.14.
_FBGEMM_TORCH_MINORS = 5

Versions = Callable[[str], str | None]


def installed(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def package_findings(versions: Versions = installed) -> list[Finding]:
    """A finding for each optional package, then one for each pair that clashes."""
    found = [_presence(versions(name), name, purpose, extra) for name, purpose, extra in OPTIONAL]
    clashes = (_fbgemm_torch(versions), _zentorch(versions), _two_fbgemms(versions), _torchrec(versions))
    return found + [finding for finding in clashes if finding is not None]


def _presence(have: str | None, name: str, purpose: str, extra: str) -> Finding:
    if have is not None:
        return Finding("packages", name, have)
    return Finding("packages", name, f"not installed ({purpose})", "note", f"pip install 'recsmith[{extra}]'")


def _minor(text: str | None) -> tuple[int, int] | None:
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else None


def _clash(name: str, value: str, remedy: str) -> Finding:
    return Finding("packages", name, value, "problem", remedy)


def _fbgemm_torch(versions: Versions) -> Finding | None:
    fbgemm, torch = _minor(versions("fbgemm-gpu-cpu")), _minor(versions("torch"))
    if fbgemm is None or torch is None or fbgemm[0] != 1 or torch[0] != 2:
        return None
    if torch[1] == fbgemm[1] + _FBGEMM_TORCH_MINORS:
        return None
    fitting = torch[1] - _FBGEMM_TORCH_MINORS
    return _clash(
        "fbgemm-gpu-cpu and torch",
        f"fbgemm-gpu-cpu 1.{fbgemm[1]} is built for torch 2.{fbgemm[1] + _FBGEMM_TORCH_MINORS}, not 2.{torch[1]}",
        f"pip install 'fbgemm-gpu-cpu==1.{fitting}.*'",
    )


def _zentorch(versions: Versions) -> Finding | None:
    zentorch, torch = _minor(versions("zentorch")), _minor(versions("torch"))
    if zentorch is None or torch is None or zentorch[0] < 2 or zentorch == torch:
        return None
    return _clash(
        "zentorch and torch",
        f"zentorch {zentorch[0]}.{zentorch[1]} is built for torch {zentorch[0]}.{zentorch[1]}, not 2.{torch[1]}",
        f"pip install 'zentorch=={torch[0]}.{torch[1]}.*'",
    )


def _two_fbgemms(versions: Versions) -> Finding | None:
    if versions("fbgemm-gpu") is None or versions("fbgemm-gpu-cpu") is None:
        return None
    return _clash(
        "fbgemm-gpu and fbgemm-gpu-cpu",
        "both are installed, and both write the folder fbgemm_gpu: one has overwritten the other",
        "pip uninstall fbgemm-gpu fbgemm-gpu-cpu, then install the one you want",
    )


def _torchrec(versions: Versions) -> Finding | None:
    torchrec = versions("torchrec")
    if torchrec is None:
        return None
    fbgemm = versions("fbgemm-gpu") or versions("fbgemm-gpu-cpu")
    if _minor(fbgemm) != _minor(torchrec):
        return _clash(
            "torchrec and fbgemm",
            f"torchrec {torchrec} goes with fbgemm of the same minor version; {fbgemm or 'none'} is installed",
            "pip install --no-deps 'torchrec==1.N.*' with fbgemm's N (without --no-deps it brings the CUDA build)",
        )
    metrics = versions("torchmetrics")
    if metrics not in (None, "1.0.3"):
        return Finding(
            "packages", "torchrec and torchmetrics", f"torchrec pins torchmetrics 1.0.3; {metrics} is installed",
            "warning", "pip install torchmetrics==1.0.3",
        )  # fmt: skip
    return None
