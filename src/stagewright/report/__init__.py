"""Pictures of plans. Depends on the model only."""
