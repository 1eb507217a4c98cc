"""What every room stands on: errors, registries, reading of settings, keyed randomness, wording."""
