"""squeezebench: a reproducible benchmark of compression methods for recurrent networks.

    small, result = squeezebench.compress(model, train, validation)   # a smaller network of your own
    parts = squeezebench.arrays("spoken_digits")                      # a task of the benchmark, for `compress`
    table = squeezebench.results("results/quick")                     # one row a run, a pandas DataFrame
    network = squeezebench.load("results/quick/runs/...")             # the compact network of a run

The functions are imported when they are used first: to import squeezebench loads neither torch nor pandas.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report.runs": ["results"],
        "tools.compression": ["compress"],
        "tools.compression.data": ["arrays"],
        "tools.load": ["load"],
    },
)
