"""The benchmark: simulated prompts on labelled images."""
