"""What a run was made of, how to repeat it, and what to cite for it."""
