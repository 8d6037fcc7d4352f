"""Packaging of Conveyor. Beam ships the source archive that this file makes to its remote workers."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
PACKAGES = ["schema", "data", "serving", "components", "pipeline", "monitoring", "conveyor"]


def version() -> str:
    """Returns `conveyor.__version__` without importing anything."""
    for node in ast.parse((ROOT / "conveyor" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("conveyor/__init__.py must set __version__")


def requirements(name: str) -> list[str]:
    """Returns the requirements that a file in requirements/ itself names."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-r"))]


def readme() -> str:
    """Returns the README, or nothing where there is none."""
    file = ROOT / "README.md"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


# A TFX line for each Python, as in the lock files: a range over both leaves pip more to try than it gets through.
LINES = {"tfx-1.16.in": 'python_version < "3.11"', "tfx-1.21.in": 'python_version >= "3.11"'}
tfx = [f"{requirement}; {marker}" for name, marker in LINES.items() for requirement in requirements(name)]

setup(
    name="conveyor-tfx",
    version=version(),
    description="A production TFX pipeline that you configure instead of write",
    long_description=readme(),
    long_description_content_type="text/markdown",
    python_requires=">=3.10",
    install_requires=[*requirements("conveyor.in"), *tfx],
    extras_require={"dev": requirements("development.in")},
    # Named, so that setuptools makes an editable install a plain path and new modules need no new installation.
    package_dir={"": "."},
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, name + ".*")]),
    package_data={
        "data": ["*/line.yaml", "*/line.*.yaml"],
        "schema": ["*/schema.pbtxt"],
    },
    include_package_data=False,
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "conveyor=conveyor.cli:main",
            "conveyor-model-server=serving.model_server.main:main",
        ]
    },
)
