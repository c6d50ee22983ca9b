"""Where models and inputs come from: the embedded digits, Python code, exported programs and array files."""
