"""Readers, id maps, the shapes of real models and synthetic ids."""
