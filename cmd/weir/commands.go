package main

// commands lists the subcommands in the order in which people meet them.
func commands() []*command {
	return []*command{
		demoCommand,
		simulateCommand,
		featuresCommand,
		trainCommand,
		evalCommand,
		checkCommand,
		specCommand,
		modelCommand,
		backtestCommand,
		upCommand,
		scoreCommand,
		recordCommand,
		migrateCommand,
		deskCommand,
		userCommand,
		healthCommand,
		verifyCommand,
		tailCommand,
		metricsCommand,
		versionCommand,
		deviceCommand,
		gpuWorkerCommand,
		benchPeers,
		benchPipeline,
		benchLatency,
		benchDesk,
		benchDevice,
		benchCommand,
		benchRole,
	}
}
