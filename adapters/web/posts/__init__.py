"""What the page keeps: posts, files, names."""
