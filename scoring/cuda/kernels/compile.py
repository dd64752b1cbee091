"""Compile the kernels with NVRTC alone: no toolkit, no compiler, no GPU.

  compile.py          write f32.ptx, f32.sm_90.cubin and f16's, which are embedded
  compile.py verify   fail unless they are, byte for byte, what the sources compile to

NVRTC comes from its wheel on PyPI, at one version and of one content, and is kept
in .cache/nvrtc. Version 12.0 writes PTX ISA 8.0, which drivers from r525 on load.
"""
import ctypes
import hashlib
import itertools
import pathlib
import subprocess
import sys
import zipfile

VERSION = "12.0.140"
SHA256 = "8e94e991d85c422de4da87bdc7472fdc1364367bd4aace7000b559cd33122071"
# Without fmad, every fused multiply-add is one that is written in the sources.
OPTIONS = ["--fmad=false", "--std=c++17"]
SOURCES = ["f32.cu", "f16.cu"]
TARGETS = {".ptx": "compute_80", ".sm_90.cubin": "sm_90"}

here = pathlib.Path(__file__).resolve().parent
cache = here.parents[2] / ".cache" / "nvrtc" / VERSION


def library():
    """Return NVRTC, fetched where it is not there yet."""
    so = cache / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    if not so.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--platform", "manylinux1_x86_64", "-d", cache, "nvidia-cuda-nvrtc-cu12==" + VERSION],
            check=True)
        wheel, = cache.glob("*.whl")
        if (got := hashlib.sha256(wheel.read_bytes()).hexdigest()) != SHA256:
            wheel.unlink()
            raise SystemExit(f"compile.py: the wheel of NVRTC {VERSION} has SHA-256 {got}, want {SHA256}")
        zipfile.ZipFile(wheel).extractall(cache)
        wheel.unlink()
    lib = ctypes.CDLL(str(so))
    lib.nvrtcGetErrorString.restype = ctypes.c_char_p
    return lib


def compile(lib, source, target):
    """Return a program's PTX for a virtual architecture, its machine code for a real one."""

    def check(code):
        if code:
            raise SystemExit("compile.py: " + lib.nvrtcGetErrorString(code).decode())

    def fetch(kind):
        size = ctypes.c_size_t()
        check(getattr(lib, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        check(getattr(lib, f"nvrtcGet{kind}")(program, text))
        return text.raw

    program = ctypes.c_void_p()
    check(lib.nvrtcCreateProgram(ctypes.byref(program), (here / source).read_bytes(), source.encode(), 0, None, None))
    options = [o.encode() for o in OPTIONS + ["--gpu-architecture=" + target, f"--include-path={here}"]]
    code = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    if log := fetch("ProgramLog").rstrip(b"\0").decode():
        print(log, file=sys.stderr)
    check(code)
    return fetch("PTX").rstrip(b"\0") if target.startswith("compute") else fetch("CUBIN")


def main():
    verify = sys.argv[1:] == ["verify"]
    if sys.argv[1:] and not verify:
        raise SystemExit(__doc__)
    lib = library()
    for source, (suffix, target) in itertools.product(SOURCES, TARGETS.items()):
        file = here / source.replace(".cu", suffix)
        made = compile(lib, source, target)
        if not verify:
            file.write_bytes(made)
        elif not file.exists() or file.read_bytes() != made:
            raise SystemExit(f"compile.py: {file.name} is not what {source} compiles to: run make kernels")
        print(f"{file.name}: {len(made)} bytes for {target}, SHA-256 {hashlib.sha256(made).hexdigest()[:16]}")


main()
