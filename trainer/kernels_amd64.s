//go:build !purego

#include "textflag.h"

// func dot64(c, a *float32, aStep int, b *float32, bStep, n int)
TEXT ·dot64(SB), NOSPLIT, $0-48
	MOVQ    c+0(FP), DI
	MOVQ    a+8(FP), SI
	MOVQ    aStep+16(FP), R8
	MOVQ    b+24(FP), DX
	MOVQ    bStep+32(FP), R9
	MOVQ    n+40(FP), CX
	VMOVUPS (DI), Y0
	VMOVUPS 32(DI), Y1
	VMOVUPS 64(DI), Y2
	VMOVUPS 96(DI), Y3
	VMOVUPS 128(DI), Y4
	VMOVUPS 160(DI), Y5
	VMOVUPS 192(DI), Y6
	VMOVUPS 224(DI), Y7

dot64Next:
	VBROADCASTSS (SI), Y8
	VFMADD231PS  (DX), Y8, Y0
	VFMADD231PS  32(DX), Y8, Y1
	VFMADD231PS  64(DX), Y8, Y2
	VFMADD231PS  96(DX), Y8, Y3
	VFMADD231PS  128(DX), Y8, Y4
	VFMADD231PS  160(DX), Y8, Y5
	VFMADD231PS  192(DX), Y8, Y6
	VFMADD231PS  224(DX), Y8, Y7
	ADDQ         R8, SI
	ADDQ         R9, DX
	DECQ         CX
	JNZ          dot64Next

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	VMOVUPS Y4, 128(DI)
	VMOVUPS Y5, 160(DI)
	VMOVUPS Y6, 192(DI)
	VMOVUPS Y7, 224(DI)
	VZEROUPPER
	RET

// func line64(c *float32, u float32, slope, prefix *float32)
TEXT ·line64(SB), NOSPLIT, $0-32
	MOVQ         c+0(FP), DI
	VBROADCASTSS u+8(FP), Y8
	MOVQ         slope+16(FP), SI
	MOVQ         prefix+24(FP), DX
	XORQ         AX, AX

line64Next:
	VMOVUPS     (DI)(AX*1), Y0
	VMOVUPS     32(DI)(AX*1), Y1
	VADDPS      (DX)(AX*1), Y0, Y0
	VADDPS      32(DX)(AX*1), Y1, Y1
	VFMADD231PS (SI)(AX*1), Y8, Y0
	VFMADD231PS 32(SI)(AX*1), Y8, Y1
	VMOVUPS     Y0, (DI)(AX*1)
	VMOVUPS     Y1, 32(DI)(AX*1)
	ADDQ        $64, AX
	CMPQ        AX, $256
	JNE         line64Next
	VZEROUPPER
	RET

// func spread64(slope, prefix *float32, u float32, grad *float32)
TEXT ·spread64(SB), NOSPLIT, $0-32
	MOVQ         slope+0(FP), SI
	MOVQ         prefix+8(FP), DX
	VBROADCASTSS u+16(FP), Y8
	MOVQ         grad+24(FP), DI
	XORQ         AX, AX

spread64Next:
	VMOVUPS     (DI)(AX*1), Y0
	VMOVUPS     (SI)(AX*1), Y2
	VMOVUPS     32(DI)(AX*1), Y1
	VMOVUPS     32(SI)(AX*1), Y3
	VFMADD231PS Y0, Y8, Y2
	VFMADD231PS Y1, Y8, Y3
	VADDPS      (DX)(AX*1), Y0, Y0
	VADDPS      32(DX)(AX*1), Y1, Y1
	VMOVUPS     Y2, (SI)(AX*1)
	VMOVUPS     Y3, 32(SI)(AX*1)
	VMOVUPS     Y0, (DX)(AX*1)
	VMOVUPS     Y1, 32(DX)(AX*1)
	ADDQ        $64, AX
	CMPQ        AX, $256
	JNE         spread64Next
	VZEROUPPER
	RET

// func activate64(h, z, s, b, keep *float32)
TEXT ·activate64(SB), NOSPLIT, $0-40
	MOVQ   h+0(FP), DI
	MOVQ   z+8(FP), SI
	MOVQ   s+16(FP), DX
	MOVQ   b+24(FP), R8
	MOVQ   keep+32(FP), R9
	VXORPS Y8, Y8, Y8
	XORQ   AX, AX

activate64Next:
	VMOVUPS     (SI)(AX*1), Y0
	VMOVUPS     (DX)(AX*1), Y1
	VFMADD213PS (R8)(AX*1), Y1, Y0
	VMAXPS      Y8, Y0, Y0
	VMULPS      (R9)(AX*1), Y0, Y0
	VMOVUPS     Y0, (DI)(AX*1)
	ADDQ        $32, AX
	CMPQ        AX, $256
	JNE         activate64Next
	VZEROUPPER
	RET

// func slope64(dz, ds, db, dx, h, z, s *float32, scale float32)
TEXT ·slope64(SB), NOSPLIT, $0-60
	MOVQ         dz+0(FP), DI
	MOVQ         ds+8(FP), SI
	MOVQ         db+16(FP), DX
	MOVQ         dx+24(FP), R8
	MOVQ         h+32(FP), R9
	MOVQ         z+40(FP), R10
	MOVQ         s+48(FP), R11
	VBROADCASTSS scale+56(FP), Y8
	VXORPS       Y9, Y9, Y9
	XORQ         AX, AX

slope64Next:
	VMULPS      (R8)(AX*1), Y8, Y0
	VCMPPS      $0x01, (R9)(AX*1), Y9, Y1
	VANDPS      Y1, Y0, Y0
	VMOVUPS     (SI)(AX*1), Y2
	VFMADD231PS (R10)(AX*1), Y0, Y2
	VMOVUPS     Y2, (SI)(AX*1)
	VADDPS      (DX)(AX*1), Y0, Y3
	VMOVUPS     Y3, (DX)(AX*1)
	VMOVUPS     (DI)(AX*1), Y4
	VFMADD231PS (R11)(AX*1), Y0, Y4
	VMOVUPS     Y4, (DI)(AX*1)
	ADDQ        $32, AX
	CMPQ        AX, $256
	JNE         slope64Next
	VZEROUPPER
	RET
