"""What screens are made of: the live table, pictures, plots, forms."""
