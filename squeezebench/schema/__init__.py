"""Everything that is written to disk, as pydantic models, and the settings of models and methods. No torch."""
