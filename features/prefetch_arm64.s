#include "textflag.h"

// func prefetch(p *uint64)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func prefetchAll(words []uint64)
TEXT ·prefetchAll(SB), NOSPLIT, $0-24
	MOVD words_base+0(FP), R0
	MOVD words_len+8(FP), R1
	SUB  $1, R1
	ADD  R1<<3, R0, R1 // the last word
	AND  $~63, R0
next:
	PRFM (R0), PLDL1KEEP
	ADD  $64, R0
	CMP  R1, R0
	BLS  next
	RET

// func prefetchBoth(p, q *uint64)
TEXT ·prefetchBoth(SB), NOSPLIT, $0-16
	MOVD p+0(FP), R0
	MOVD q+8(FP), R1
	PRFM (R0), PLDL1KEEP
	PRFM (R1), PLDL1KEEP
	RET
