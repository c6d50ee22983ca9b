"""What is judged: composition and placement, observation, the planted trap, locating a mask."""
