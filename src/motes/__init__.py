"""Diffusion models for points and tables, from a 2-D toy to 200 mixed columns.

    import motes

    model = motes.fit(motes.make_shape("swiss_roll", 10_000))  # points: Gaussian diffusion
    model.sample(10_000)

    model = motes.fit("penguins")  # a table, by name, from a file or in memory: masked diffusion
    model.sample(5, given={"species": "Gentoo"}).to_pandas()

Names load on first use, so that `import motes` is fast.
"""

import lazy_loader

_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("motes")
    return _attribute(name)
