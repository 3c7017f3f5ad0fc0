"""A wheel holds the folders that stand beside the package in the repository, as `squeezebench/project` (see
squeezebench/base/places.py). Everything else about the package is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("methods", "report", "config", "workflow", "profiles")


class WithProject(build_py):
    """Copies the folders and the Snakefile into the build, unless the package is installed as editable."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        project = Path(self.build_lib) / "squeezebench" / "project"
        shutil.rmtree(project, ignore_errors=True)  # of an earlier build: no method that is gone comes back
        for name in BESIDE:
            shutil.copytree(name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.sif"))
        shutil.copy("Snakefile", project)


setup(cmdclass={"build_py": WithProject})
