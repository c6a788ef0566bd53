"""The architectures of the SAM family in torch, with the original projects' key names."""
