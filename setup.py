"""What pyproject.toml cannot say: the hot path in C, which is left out where no compiler is."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "connector._native",
            ["connector/_native.c"],
            extra_compile_args=["-O3"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},  # one wheel for all versions of Python
)
