"""Training of the refiner: rough canvases of synthetic people, what they should show, and a network between them."""
