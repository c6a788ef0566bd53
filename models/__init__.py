"""The model manager: loads promptable models and runs them."""
