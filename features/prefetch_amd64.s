#include "textflag.h"

// func prefetch(p *uint64)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func prefetchAll(words []uint64)
TEXT ·prefetchAll(SB), NOSPLIT, $0-24
	MOVQ words_base+0(FP), AX
	MOVQ words_len+8(FP), BX
	LEAQ -8(AX)(BX*8), BX // the last word
	ANDQ $~63, AX
next:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	CMPQ AX, BX
	JLS  next
	RET

// func prefetchBoth(p, q *uint64)
TEXT ·prefetchBoth(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ q+8(FP), BX
	PREFETCHT0 (AX)
	PREFETCHT0 (BX)
	RET
