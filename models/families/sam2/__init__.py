"""SAM 2, behind the predictor's verbs."""
