"""The one thing that setup.cfg cannot say: the native part, which is left out where it cannot be built."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Without a C compiler, or for another processor, sealing goes its way through `cryptography` (protocol/lanes.py).
        Extension(
            "protocol._lanes",
            ["protocol/native/lanes.c"],
            depends=[f"protocol/native/{name}.h" for name in ("base", "sha256", "aes", "tokens")],
            extra_compile_args=["-O2", "-Wall", "-Wextra"],
            optional=True,
        )
    ]
)
