"""The volume engine: a native-3D network answers and corrects an object as a whole, see docs/engine.md."""
