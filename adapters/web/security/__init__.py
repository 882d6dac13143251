"""Who a browser is, whether it may enter, and how much it may open at once."""
