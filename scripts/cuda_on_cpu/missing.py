"""Write C functions for every entry point that CuPy links with and the emulator does not have.

Each prints on standard error which function is not emulated, and returns an error code.

Usage: missing.py SITE_PACKAGES OBJECTS > missing.c
"""

import pathlib
import re
import subprocess
import sys

UNSUPPORTED = {
    "cuda": 801,
    "cublas": 15,
    "cusparse": 10,
    "cusolver": 7,
    "curand": 204,
    "cufft": 16,
    "nvrtc": 11,
}
"""The code by which each library says that it does not support something."""

EXPORT = '__attribute__((visibility("default")))'


def names(option: str, file: pathlib.Path) -> set[str]:
    """Return the symbols that nm lists for a file."""
    out = subprocess.run(["nm", *option.split(), str(file)], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"nm {option} {file}: {out.stderr}")
    return {line.split()[-1].split("@")[0] for line in out.stdout.splitlines()}


site, objects = map(pathlib.Path, sys.argv[1:])
have = set()
for file in (objects / "gpu.o", objects / "blas.o"):
    have |= names("-g --defined-only", file)
wanted = names("--undefined-only", objects / "runtime.o")
for file in site.glob("cupy*/**/*.so"):
    wanted |= names("-D --undefined-only", file)

print("#include <stdio.h>")
print('__attribute__((visibility("hidden"))) int missing(const char* name, int code) {')
print('    fprintf(stderr, "cuda_on_cpu: %s is not emulated\\n", name);')
print("    return code;")
print("}")
for name in sorted(wanted - have):
    library = re.match(r"(cuda|cublas|cusparse|cusolver|curand|cufft|nvrtc)[A-Z]", name)
    if library is None:
        continue
    if name.endswith(("GetErrorName", "GetErrorString")):
        print(f'{EXPORT} const char* {name}(void) {{ return "not emulated"; }}')
    else:
        code = UNSUPPORTED[library[1]]
        print(f'{EXPORT} int {name}(void) {{ return missing("{name}", {code}); }}')
