"""The expanding background at low redshift: energy densities, distances, the sound horizon; batched and differentiable."""
