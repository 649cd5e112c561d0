"""Learning the parameters and the noise of twins from recordings."""
