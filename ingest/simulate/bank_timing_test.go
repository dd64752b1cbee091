package simulate

import (
	"fmt"
	"testing"
)

func BenchmarkBank(b *testing.B) {
	for _, customers := range []int{5_000, 1_000_000} {
		for _, write := range []bool{false, true} {
			b.Run(fmt.Sprintf("customers=%d/json=%t", customers, write), func(b *testing.B) {
				cfg := DefaultConfig()
				cfg.Customers, cfg.Devices, cfg.Days = customers, customers, 0
				cfg.Merchants, cfg.Terminals = customers/5, customers/4
				bank := mustNew(b, cfg)
				var tx Transaction
				var l Label
				buf := make([]byte, 0, 1024)
				b.ReportAllocs()
				for b.Loop() {
					bank.Next(&tx)
					for bank.NextLabel(&l) {
					}
					if write {
						buf = tx.AppendJSON(buf[:0])
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			})
		}
	}
}
