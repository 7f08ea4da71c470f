"""The compiled part; all else about the package stands in `pyproject.toml`."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("edge_agent/native")

setup(
    ext_modules=[
        # A plain shared library without Python.h: one build serves every Python. Where no C
        # compiler is, the installation goes on without it, and the agent says at start-up that it
        # runs the slow meter.
        Extension(
            "edge_agent.native._library",
            sources=sorted(str(path) for path in NATIVE.glob("*.c")),
            depends=sorted(str(path) for path in NATIVE.glob("*.h")),
            extra_compile_args=["-std=c11", "-O3", "-fno-math-errno", "-g0", "-fvisibility=hidden"],
            libraries=["m"],
            optional=True,
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
