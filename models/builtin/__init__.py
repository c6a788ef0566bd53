"""The shipped model: its weights, card and training recipe."""
