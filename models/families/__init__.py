"""One predictor class per model family."""
