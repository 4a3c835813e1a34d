"""Theory: parameters in, batched spectra out; Boltzmann codes and emulators behind one interface."""
