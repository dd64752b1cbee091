package decode

import "github.com/weir-risk/weir/schemas"

// A check is one test that can stop a record. Several checks may share a reason;
// the reason is what the ledger holds, the check what a person is told.
type check uint8

const (
	passed check = iota
	nullValue
	oversize
	valueMissing
	valueUnended
	literalUnknown
	numberEmpty
	numberZero
	numberPoint
	numberExponent
	textUnended
	textControl
	textUTF8
	escapeUnknown
	escapeHex
	surrogateLow
	surrogateHigh
	surrogatePair
	keyUnquoted
	keyColon
	objectUnended
	objectComma
	objectTrailing
	arrayUnended
	arrayComma
	arrayTrailing
	objectDeep
	arrayDeep
	recordTrailing
	recordArray
	recordScalar
	fieldTwice
	objectTwice
	idMissing
	idType
	idWhole
	idEmpty
	idLong
	timeMissing
	timeType
	timeForm
	timeCalendar
	timeClock
	timeZone
	timeEpoch
	timeEarly
	timeLate
	timeFuture
	amountMissing
	amountType
	amountForm
	amountRange
	amountPrecision
	amountNegative
	currencyMissing
	currencyType
	currencyUnknown
	typeType
	typeUnknown
	statusType
	statusUnknown
	fieldType
	fieldWhole
	fieldLong
	numberType
	numberForm
	numberRange
	secretType
	secretForm
	secretShort
	secretLong
	numChecks
)

// checks holds the reason of each check, its name in testdata/malformed.txt, and
// what it says to people.
var checks = [numChecks]struct {
	reason schemas.Reason
	name   string
	text   string
}{
	passed:          {schemas.NoReason, "", ""},
	nullValue:       {schemas.NullValue, "null-value", "the record has no value"},
	oversize:        {schemas.Oversize, "oversize", "more bytes than max_bytes"},
	valueMissing:    {schemas.BadJSON, "value-missing", "a byte that begins no value"},
	valueUnended:    {schemas.BadJSON, "value-unended", "the record ends where a value should begin"},
	literalUnknown:  {schemas.BadJSON, "literal-unknown", "a word other than true, false and null"},
	numberEmpty:     {schemas.BadJSON, "number-empty", "a minus without a digit"},
	numberZero:      {schemas.BadJSON, "number-zero", "a number with a leading zero"},
	numberPoint:     {schemas.BadJSON, "number-point", "a decimal point without a digit behind it"},
	numberExponent:  {schemas.BadJSON, "number-exponent", "an exponent without a digit"},
	textUnended:     {schemas.BadJSON, "text-unended", "a string without an end"},
	textControl:     {schemas.BadJSON, "text-control", "a control character in a string"},
	textUTF8:        {schemas.BadUTF8, "text-utf8", "broken UTF-8 in a string"},
	escapeUnknown:   {schemas.BadJSON, "escape-unknown", "an escape that JSON does not have"},
	escapeHex:       {schemas.BadJSON, "escape-hex", `\u without four hexadecimal digits`},
	surrogateLow:    {schemas.BadUTF8, "surrogate-low", "a low surrogate without a high one before it"},
	surrogateHigh:   {schemas.BadUTF8, "surrogate-high", "a high surrogate without an escape behind it"},
	surrogatePair:   {schemas.BadUTF8, "surrogate-pair", "a high surrogate without a low one behind it"},
	keyUnquoted:     {schemas.BadJSON, "key-unquoted", "a key that is no string"},
	keyColon:        {schemas.BadJSON, "key-colon", "a key without a colon behind it"},
	objectUnended:   {schemas.BadJSON, "object-unended", "an object without an end"},
	objectComma:     {schemas.BadJSON, "object-comma", "neither a comma nor the end behind a member"},
	objectTrailing:  {schemas.BadJSON, "object-trailing", "a comma before the end of an object"},
	arrayUnended:    {schemas.BadJSON, "array-unended", "an array without an end"},
	arrayComma:      {schemas.BadJSON, "array-comma", "neither a comma nor the end behind an element"},
	arrayTrailing:   {schemas.BadJSON, "array-trailing", "a comma before the end of an array"},
	objectDeep:      {schemas.TooDeep, "object-deep", "an object nested deeper than max_depth"},
	arrayDeep:       {schemas.TooDeep, "array-deep", "an array nested deeper than max_depth"},
	recordTrailing:  {schemas.TrailingBytes, "record-trailing", "bytes behind the record"},
	recordArray:     {schemas.NotObject, "record-array", "the record is an array"},
	recordScalar:    {schemas.NotObject, "record-scalar", "the record is a string, a number or a word"},
	fieldTwice:      {schemas.DuplicateKey, "field-twice", "a field comes twice"},
	objectTwice:     {schemas.DuplicateKey, "object-twice", "an object that holds a field comes twice"},
	idMissing:       {schemas.MissingID, "id-missing", "no id"},
	idType:          {schemas.BadID, "id-type", "an id that is neither a string nor a number"},
	idWhole:         {schemas.BadID, "id-whole", "an id that is a number and no integer"},
	idEmpty:         {schemas.BadID, "id-empty", "an empty id"},
	idLong:          {schemas.BadID, "id-long", "an id of more than 256 bytes"},
	timeMissing:     {schemas.MissingTime, "time-missing", "no time"},
	timeType:        {schemas.BadTime, "time-type", "a time of a wrong type"},
	timeForm:        {schemas.BadTime, "time-form", "a time that is not written as in RFC 3339"},
	timeCalendar:    {schemas.BadTime, "time-calendar", "a day that is in no calendar"},
	timeClock:       {schemas.BadTime, "time-clock", "a time of day that is on no clock"},
	timeZone:        {schemas.BadTime, "time-zone", "an offset from UTC that is none"},
	timeEpoch:       {schemas.BadTime, "time-epoch", "a time since 1970 that is no number of at most 19 digits"},
	timeEarly:       {schemas.AbsurdTime, "time-early", "a time before 1970"},
	timeLate:        {schemas.AbsurdTime, "time-late", "a time from 2200 on"},
	timeFuture:      {schemas.FutureTime, "time-future", "a time beyond the record's Kafka timestamp"},
	amountMissing:   {schemas.MissingAmount, "amount-missing", "no amount"},
	amountType:      {schemas.BadAmount, "amount-type", "an amount that is neither a number nor a string"},
	amountForm:      {schemas.BadAmount, "amount-form", "an amount that is no decimal number"},
	amountRange:     {schemas.AmountRange, "amount-range", "an amount of more than 18 digits of minor units"},
	amountPrecision: {schemas.AmountPrecision, "amount-precision", "an amount with more decimals than its currency"},
	amountNegative:  {schemas.NegativeAmount, "amount-negative", "an amount below zero that is no refund or reversal"},
	currencyMissing: {schemas.BadCurrency, "currency-missing", "no currency, and the spec has no default"},
	currencyType:    {schemas.BadCurrency, "currency-type", "a currency that is no string"},
	currencyUnknown: {schemas.BadCurrency, "currency-unknown", "a currency that ISO 4217 does not have"},
	typeType:        {schemas.BadType, "type-type", "a type that is neither a string nor an integer"},
	typeUnknown:     {schemas.BadType, "type-unknown", "a type that the spec does not map"},
	statusType:      {schemas.BadStatus, "status-type", "a status that is neither a string nor an integer"},
	statusUnknown:   {schemas.BadStatus, "status-unknown", "a status that the spec does not map"},
	fieldType:       {schemas.BadText, "field-type", "a text field that is no string"},
	fieldWhole:      {schemas.BadText, "field-whole", "a text field that is a number and may not be, or is no integer"},
	fieldLong:       {schemas.TextTooLong, "field-long", "a text field of more than 256 bytes"},
	numberType:      {schemas.BadNumber, "number-type", "a numeric field that is neither a number nor a string"},
	numberForm:      {schemas.BadNumber, "number-form", "a numeric field whose string is no number"},
	numberRange:     {schemas.NumberRange, "number-range", "a number beyond what a float64 holds"},
	secretType:      {schemas.BadSecret, "secret-type", "a card number that is neither a string nor an integer"},
	secretForm:      {schemas.BadSecret, "secret-form", "a card number with something other than digits, spaces and dashes"},
	secretShort:     {schemas.BadSecret, "secret-short", "a card number of fewer than 12 digits"},
	secretLong:      {schemas.BadSecret, "secret-long", "a card number of more than 19 digits"},
}
