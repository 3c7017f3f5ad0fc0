"""How figures are drawn: one style, one look for each method, SVG with hover texts."""
