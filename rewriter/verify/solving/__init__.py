"""The solver in processes of its own."""
