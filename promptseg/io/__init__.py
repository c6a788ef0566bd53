"""Reading and writing: one reader and writer per format family."""
