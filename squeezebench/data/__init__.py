"""Data sources, splits, normalisation, video, download, archives. No torch.

`squeezebench.data.pad(list_of_arrays)` makes one array of sequences of different lengths.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"ragged": ["pad"]})
