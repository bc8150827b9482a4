"""How a trained network is used: recognizer, filtering, overlap, and the settings that name them."""
