"""How the built-in 3D network is trained: painting, people, recipe, export."""
