// Package broker is the embedded broker: kfake, franz-go's Kafka in memory,
// with its data folder, so that weir runs with nothing configured. It speaks
// Kafka's protocol on a loopback port, and keeps what it acknowledged when its
// process is killed; a power failure may take the last moments unless
// SyncWrites is set. It is for trials, tests and small installations; a bank
// runs Apache Kafka, through the same client.
package broker
