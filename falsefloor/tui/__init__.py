"""The terminal app: compose, run, watch, understand. Reads runs from their directory; never imports torch."""
