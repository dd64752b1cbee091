// Package browser works at the desk as people do: in Chromium, with a weir that runs
// as a process and a simulated bank that pays. It is a module of its own, so that
// nothing of it gets into the binary, and run starts it.
//
//	world_test.go      weir, the bank, accounts, and what the topics hold
//	tab_test.go        one page of the browser: open, click, type, wait for
//	day_test.go        a day at the desk; race_test.go two at one alert; live_test.go arrivals
//	keys_test.go       keys alone; plain_test.go no script; fast_test.go a desk far away
//	look_test.go       accessibility, widths, the policy, and the screenshots
package browser
