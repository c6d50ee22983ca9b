"""One real, tiny, measured case a code, by family as the checks are: what the pages of the warnings show."""
