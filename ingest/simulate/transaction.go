package simulate

import "github.com/weir-risk/weir/schemas"

// FraudKind is the truth about a transaction.
type FraudKind uint8

// The kinds of fraud. They are never seen by a scorer, save in labels.
const (
	Genuine             FraudKind = iota
	HighAmount                    // one payment or two, far above the customer's usual
	CompromisedTerminal           // a share of what a terminal takes, for days to weeks
	StolenCard                    // many payments at shops within a day or two
	CardTesting                   // tiny payments at many online shops within minutes, then a big one
	AccountTakeover               // transfers from a new device in another country
	PushPayment                   // the customer himself is talked into a transfer; appears late
	NumFraudKinds
)

var kindNames = [NumFraudKinds]string{
	"genuine", "high_amount", "compromised_terminal", "stolen_card", "card_testing", "account_takeover", "push_payment",
}

// String returns the kind's name in labels.
func (k FraudKind) String() string { return kindNames[k] }

// Channel is how a payment reached the bank.
type Channel uint8

// The channels.
const (
	POS Channel = iota
	Ecommerce
	ATM
	Mobile
	Web
	NumChannels
)

var channelNames = [NumChannels]string{"pos", "ecom", "atm", "mobile", "web"}

// EntryMode is how a card's number was taken; transfers have none.
type EntryMode uint8

// The entry modes.
const (
	NoEntry EntryMode = iota
	Chip
	Contactless
	Swipe
	Keyed
	OnFile
	NumEntryModes
)

var entryNames = [NumEntryModes]string{"", "chip", "contactless", "swipe", "keyed", "on_file"}

// Transaction is one record of the bank, with the truth about it. It holds no
// pointer; numbers become the bank's ids when it is written.
type Transaction struct {
	Number   uint64 // of the id, from 1
	Original uint64 // Number of what a capture, reversal or refund refers to; 0 none
	Time     int64  // event time, ms since the Unix epoch
	Sent     int64  // when the record reaches the stream: Time, or later where late or sent again
	Amount   int64  // minor units of Currency

	Customer uint32
	Merchant uint32 // from 1; 0 none, as for Terminal, Device, Payee and IP
	Terminal uint32
	Device   uint32
	Payee    uint32 // the counterparty's account
	IP       uint32
	MCC      uint16
	Country  [2]byte
	Currency [3]byte
	Digits   uint8 // decimals of Currency
	Card     uint8 // which of the customer's cards, counting replacements
	HasCard  bool

	Type    schemas.TxType
	Status  schemas.Status
	Channel Channel
	Entry   EntryMode

	Kind   FraudKind // Genuine, or what sort of fraud
	Late   bool      // held up on its way
	Resent bool      // the same record a second time
}

// Fraud reports the truth.
func (t *Transaction) Fraud() bool { return t.Kind != Genuine }

// Label is what somebody says about a transaction, when it becomes known.
type Label struct {
	Number  uint64 // of the transaction
	Time    int64  // of the transaction
	KnownAt int64  // ms since the Unix epoch
	Verdict schemas.LabelVerdict
	Source  schemas.LabelSource
	Kind    FraudKind // as the source names it; Genuine where the verdict is not fraud
	Version uint8     // from 1, of this source for this transaction
	Alert   bool      // somebody looked because of an alert
}
