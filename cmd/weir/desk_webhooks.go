package main

import (
	"flag"
	"fmt"
	"net/netip"
	"strings"
)

// networks is the value of a flag that takes networks with commas between them, and may
// be given several times.
type networks []netip.Prefix

func (n *networks) String() string {
	var list []string
	for _, p := range *n {
		list = append(list, p.String())
	}
	return strings.Join(list, ",")
}

func (n *networks) Set(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil {
			return fmt.Errorf("%q is no network such as 10.1.0.0/16", one)
		}
		*n = append(*n, p.Masked())
	}
	return nil
}

// addWebhooks registers where webhooks may lead beside the public internet.
func addWebhooks(fs *flag.FlagSet) *networks {
	n := new(networks)
	fs.Var(n, "webhooks-allow", "`CIDR,...` of networks beside the public internet that webhooks may lead to, by plain http too")
	return n
}
