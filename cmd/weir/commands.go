package main

// commands lists the subcommands in the order in which people meet them.
func commands() []*command {
	return []*command{
		demoCommand,
		simulateCommand,
		featuresCommand,
		trainCommand,
		upCommand,
		scoreCommand,
		verifyCommand,
		tailCommand,
	}
}
