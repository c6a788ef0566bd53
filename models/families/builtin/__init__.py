"""The networks that ship with the package, behind the predictor's verbs."""
