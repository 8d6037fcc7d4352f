"""What a run has around it besides code, config and data: installed packages, the processor, variables of the system.

What is kept of it says, a year later, in what a rebuild differs from the run that it rebuilds.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Not all of TF_: Terraform has its variables, secrets among them, under that name too.
_PREFIXES = (
    *(f"TF_{word}" for word in ("CUDNN_", "DETERMINISTIC_", "DISABLE_", "ENABLE_", "FORCE_", "GPU_", "NUM_", "USE_")),
    *("XLA_", "TF_XLA_", "KERAS_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "ONEDNN_", "DNNL_", "CUDA_", "NVIDIA_", "NPY_"),
)
_NAMES = ("GLIBC_TUNABLES", "LANG", "LC_ALL", "PYTHONHASHSEED", "TZ")
_FEATURES = re.compile(r"sse\w*|ssse3|avx\w*|fma|f16c|amx\w*|asimd\w*|sve\w*|bf16|i8mm")
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist|egg)-info")


def surroundings(env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Returns what the current process runs in, as JSON-ready data.

    Args:
        env: the environment.

    Returns:
        `packages` (name to version), `python`, `platform`, `processor` (`model`, `machine`, `cores` that this process
        may use, `features`: the instruction sets that numeric libraries choose by), `gpus`, and `variables`.
    """
    return {
        "packages": installed_packages(sys.path),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "gpus": _gpus(),
        "variables": variables_that_matter(env),
    }


def variables_that_matter(env: Mapping[str, str]) -> dict[str, str]:
    """Returns those variables that change what numeric libraries compute, or how text and times are read."""
    return {name: value for name, value in sorted(env.items()) if name.startswith(_PREFIXES) or name in _NAMES}


def package_name(name: str) -> str:
    """Returns a package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages(folders: Iterable[str]) -> dict[str, str]:
    """Returns package name to version, for all that is installed in `folders`.

    Told from the names of the folders that installers leave; to read every package's metadata takes most of a second.
    """
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or "."))
        except OSError:
            continue
        for name in names:
            match = _DISTRIBUTION.fullmatch(name)
            if match:
                found.setdefault(package_name(match["name"]), match["version"])
    return dict(sorted(found.items()))


def processor() -> dict[str, Any]:
    """Returns the processor's `model`, `machine`, `cores` and `features`."""
    model, flags = "", ""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and not model:
            model = value.strip()
        elif key.strip() in ("flags", "Features") and not flags:
            flags = value
    return {
        "model": model or platform.processor(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": sorted(flag for flag in flags.split() if _FEATURES.fullmatch(flag)),
    }


def _gpus() -> list[str]:
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                found.append(line.partition(":")[2].strip())
    return found
