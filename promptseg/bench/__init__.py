"""The benchmark: simulated prompts on labelled images, for any model and anyone's own data."""
