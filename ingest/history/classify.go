package history

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
	"modernc.org/sqlite"
)

// Class says what to do about an error.
type Class uint8

// The classes of errors.
const (
	Retry Class = iota // the same call may succeed later
	Stop               // a person has to mend something
)

// Classify is the one place that says which errors of a store are worth another
// try. What neither store explains is a broken connection, or like one.
func Classify(err error) Class {
	for _, stop := range []error{ErrNewer, ErrNone, ErrOlder, ErrMoved, ErrIncomplete, ErrNoRecord, ErrField, ErrMany, context.Canceled} {
		if errors.Is(err, stop) {
			return Stop
		}
	}
	var pooled *clickhouse.Exception
	if errors.As(err, &pooled) {
		return clickhouseClass(int(pooled.Code))
	}
	var bulk *ch.Exception
	if errors.As(err, &bulk) {
		return clickhouseClass(int(bulk.Code))
	}
	var file *sqlite.Error
	if errors.As(err, &file) {
		return sqliteClass(file.Code())
	}
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &header) {
		return Stop
	}
	return Retry
}

// clickhouseClass classifies an error code of the server
// (src/Common/ErrorCodes.cpp): what load, a start, a stop or a lack of room
// brings about passes.
func clickhouseClass(code int) Class {
	switch code {
	case 32, 101, 102, // a connection that broke off: ATTEMPT_TO_READ_AFTER_EOF, UNEXPECTED_PACKET_FROM_CLIENT, ..._FROM_SERVER
		159, 160, 202, 203, 209, 210, // TIMEOUT_EXCEEDED, TOO_SLOW, TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, SOCKET_TIMEOUT, NETWORK_ERROR
		225, 236, 241, 242, 243, // NO_ZOOKEEPER, ABORTED, MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE
		252, 285, 286, 319, // TOO_MANY_PARTS, TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, UNKNOWN_STATUS_OF_INSERT
		364, 394, 425, 439, 473, // RECEIVED_ERROR_TOO_MANY_REQUESTS, QUERY_WAS_CANCELLED, SYSTEM_ERROR, CANNOT_SCHEDULE_TASK, DEADLOCK_AVOIDED
		733, 745, 999: // TABLE_IS_BEING_RESTARTED, SERVER_OVERLOADED, KEEPER_EXCEPTION
		return Retry
	}
	return Stop
}

const sqliteBusy = 5 // SQLITE_BUSY: somebody else has the file

// sqliteClass classifies a result code of SQLite (sqlite.org/rescode.html).
func sqliteClass(code int) Class {
	switch code & 0xff {
	case sqliteBusy, 6, 7, 9, 10, 13, 15: // LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL
		return Retry
	}
	return Stop
}
