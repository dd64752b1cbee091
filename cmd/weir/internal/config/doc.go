// Package config reads weir.yaml, the one file of settings that every role of weir
// takes, and says of each mistake in it where it is, what is wrong and what to do.
//
// One rule names a setting everywhere: the key kafka.sasl of the file is the flag
// --kafka-sasl and the variable WEIR_KAFKA_SASL. [Settings] lists all of them; what a
// setting means and what it is where nobody says anything is told by the flag.
//
// A file is refused as a whole. YAML reads much in ways that surprise (no is false,
// 010 is eight, an anchor repeats what stands elsewhere), so a value has to be written
// the one way in which nobody takes it for another, and nothing else is guessed.
// Secrets are not in the file: its keys that end in -file say where they are.
package config
