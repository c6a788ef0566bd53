"""Who comes in, as whom, how much of it, and what is written down about it."""
