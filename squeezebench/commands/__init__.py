"""The commands of `squeezebench`, by what they are about. Heavy imports happen inside each function."""
