"""What a run looks like on paper: table, JSON, CSV, Markdown, HTML.

No torch, numpy or scipy; and nothing that others wrote is ever read as markup, escape code or formula.
"""
