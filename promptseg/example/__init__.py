"""The example volume that ships with the package."""
