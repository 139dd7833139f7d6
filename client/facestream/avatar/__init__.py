"""From one photo to an avatar: landmarks, fit of the face model, layers, and the bundle that the server loads."""
