"""Video data sets: from the official archives to clips, splits, frames, flow and features."""
