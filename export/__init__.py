"""Training and export: what makes the models in model_repository/."""
