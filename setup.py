"""Names the packages; all else is in pyproject.toml.

The configs are in `configs/` of the checkout, where a reader looks for them. Installed
they are `raindrop/configs/`, so that nobody gets a package called `configs`.
"""

from setuptools import find_namespace_packages, setup

setup(
    # Of namespaces, since raindrop.pretrained is a folder of weights.
    packages=[
        *find_namespace_packages(include=["raindrop", "raindrop.*"]),
        "raindrop.configs",
    ],
    package_dir={"raindrop.configs": "configs"},
)
