"""Translate one module of CuPy's source to C++, with the compiler directives of CuPy's own build.

Usage: cythonize.py SOURCE MODULE PATH CUDA_VERSION
"""

import os
import sys

import Cython
from Cython.Build import cythonize
from setuptools import Extension

source, module, path, version = sys.argv[1:]
os.chdir(source)
cythonize(
    [Extension(module, [path], language="c++")],
    language_level=3,
    force=True,
    compiler_directives={
        "embedsignature": True,
        "c_api_binop_methods": True,
        "binding": False,
        "legacy_implicit_noexcept": True,
    },
    compile_time_env={
        "CUPY_USE_CUDA_PYTHON": False,
        "CUPY_CUFFT_STATIC": False,
        "CUPY_CYTHON_VERSION": Cython.__version__,
        "CUPY_CUDA_VERSION": int(version),
        "CUPY_HIP_VERSION": 0,
    },
)
