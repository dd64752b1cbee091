//go:build !linux

package main

import "os/exec"

// startOn starts a command; which core it runs on is left to the system.
func startOn(_ int, c *exec.Cmd) error { return c.Start() }
