CHANNELS=("image","neighbour","positive","negative","box","previous","carried")
