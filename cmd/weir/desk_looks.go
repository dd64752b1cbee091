package main

import "flag"

// addLooks adds the flag for second looks. One in twenty shows within weeks whether two
// analysts judge alike, and costs them one alert in twenty more.
func addLooks(fs *flag.FlagSet, looks *float64) {
	fs.Float64Var(looks, "second-looks", .05, "`SHARE` of the closed alerts that a second analyst looks at blind; 0 for none")
}

func checkLooks(looks float64) error {
	if !(looks >= 0 && looks <= 1) {
		return usagef("--second-looks %v: from 0 to 1", looks)
	}
	return nil
}
