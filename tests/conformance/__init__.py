"""What is shown is what was written: the renderers held against readers that share no code with them."""
