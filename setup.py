"""What pyproject.toml cannot say: the hot paths in C, which are left out where they cannot be built."""

import sysconfig
from pathlib import Path

from setuptools import Extension, setup

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # The limited API does not exist there, and setuptools refuses to build for it: the form in Python does it all.
    setup()
else:
    setup(
        ext_modules=[
            Extension(
                name,
                [f"{name.replace('.', '/')}.c"],
                depends=[str(each) for each in Path("connector").rglob("_*.h")],
                extra_compile_args=["-O3", "-Werror=implicit-function-declaration"],
                py_limited_api=True,
                optional=True,  # without a C compiler
            )
            for name in ("connector.records._native", "connector.formats.schemas._avro")
        ],
        options={"bdist_wheel": {"py_limited_api": "cp311"}},  # one wheel for all versions of Python
    )
