package schemas

import "strconv"

// AppendAlertID appends the id of an alert: shard and ledger offset.
func AppendAlertID(dst []byte, shard int32, offset int64) []byte {
	dst = append(strconv.AppendInt(dst, int64(shard), 10), '-')
	return strconv.AppendInt(dst, offset, 10)
}

// AlertReason is why an alert was raised: a group of features that moved the
// score, and what is unusual about them.
type AlertReason struct {
	Group []byte
	Logit float32 // by how much the group raised the score's logit
	Words [][]byte
}

// AppendAlertJSON appends the alert of a decision in its JSON form
// (alert.schema.json): what an analyst needs to see of it, with all canonical
// fields that are present, and the reasons if it has any; quick says that these are
// an estimate. Offset is the decision's in the ledger. It does not allocate where dst has room.
func AppendAlertJSON(dst []byte, d *Decision, shard int32, offset int64, reasons []AlertReason, quick bool) []byte {
	dst = append(AppendAlertID(append(dst, `{"id":"`...), shard, offset), `","ledger":{"partition":`...)
	dst = strconv.AppendInt(dst, int64(shard), 10)
	dst = strconv.AppendInt(append(dst, `,"offset":`...), offset, 10)
	dst = strconv.AppendInt(append(dst, `},"source":{"partition":`...), int64(d.Partition), 10)
	dst = strconv.AppendInt(append(dst, `,"offset":`...), d.Offset, 10)
	dst = append(dst, '}')
	if len(d.Tenant) > 0 {
		dst = appendJSONText(append(dst, `,"tenant":`...), d.Tenant)
	}
	dst = append(append(dst, `,"outcome":"`...), d.Outcome.String()...)
	dst = append(append(dst, `","action":"`...), d.Action.String()...)
	dst = append(append(dst, `","reason":"`...), d.Reason.String()...)
	dst = append(appendJSONTime(append(dst, `","time":"`...), d.Tx.Time), `","type":"`...)
	dst = append(append(dst, d.Tx.Type.String()...), `","status":"`...)
	dst = append(append(dst, d.Tx.Status.String()...), `","amount":`...)
	dst = strconv.AppendInt(dst, d.Tx.Amount, 10)
	dst = strconv.AppendInt(append(dst, `,"amount_base":`...), d.Tx.AmountBase, 10)
	dst = appendJSONFloat(append(dst, `,"score":`...), d.Score)
	dst = appendJSONFloat(append(dst, `,"probability":`...), d.Prob)
	dst = appendJSONFloat(append(dst, `,"rank":`...), d.Rank)
	dst = appendJSONFloat(append(dst, `,"threshold":`...), d.Threshold)
	dst = appendJSONFloat(append(dst, `,"review_probability":`...), d.ReviewProb)
	dst = append(appendHex64(append(dst, `,"bundle":"`...), d.Bundle), '"')
	dst = appendReasons(dst, reasons)
	if quick {
		dst = append(dst, `,"reasons_quick":true`...)
	}
	for f, text := range d.Text {
		if len(text) > 0 {
			dst = append(append(append(dst, `,"`...), textNames[f]...), `":`...)
			if TextField(f) == ID {
				dst = append(dst[:len(dst)-len(`"id":`)], `"tx_id":`...) // "id" is the alert's own
			}
			dst = appendJSONText(dst, text)
		}
	}
	return append(dst, '}')
}

func appendReasons(dst []byte, reasons []AlertReason) []byte {
	if len(reasons) == 0 {
		return dst
	}
	dst = append(dst, `,"reasons":[`...)
	for i := range reasons {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONText(append(dst, `{"group":`...), reasons[i].Group)
		dst = append(appendJSONFloat(append(dst, `,"logit":`...), reasons[i].Logit), `,"words":[`...)
		for j, words := range reasons[i].Words {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONText(dst, words)
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, ']')
}

func appendHex64(dst []byte, v uint64) []byte {
	const hex = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hex[v>>shift&15])
	}
	return dst
}
