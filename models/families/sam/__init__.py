"""SAM and its relatives, behind the predictor's verbs."""
