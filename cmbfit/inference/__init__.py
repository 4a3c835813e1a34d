"""From a posterior to samples and what they say: emcee driver, best fit, diagnostics, products."""
