"""LaTeX as MathML, for the page."""
