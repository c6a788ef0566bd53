"""Files of weights: what there is, where it comes from, whether it is what it says."""
