// Package browser works at the desk as people do: in Chromium, with a weir that runs
// as a process and a simulated bank that pays. It is a module of its own, so that
// nothing of it gets into the binary, and run starts it.
//
//	world_test.go   weir, the bank, accounts, and what the topics hold
//	tab_test.go     one page of the browser: open, click, type, wait for
package browser
