"""The slice-by-slice engine: plan, stop tests, execution."""
