"""Who is let in, who is next and who gives way: bounded admission and a fair queue by owner. Without I/O."""
