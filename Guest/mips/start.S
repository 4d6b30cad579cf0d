# Entry of the big-endian MIPS guest, in the unmapped segment, and its interrupt.

    .set noat
    .section .text.start, "ax"
    .global start
start:                              # a0: 2, a1: arguments, a2: environment, a3: memory
    lui $sp, %hi(stack_top)
    addiu $sp, $sp, %lo(stack_top)
    move $a0, $a1
    move $a1, $a3
    jal machine_main
1:  b 1b

# Copied to the general exception vector. The PIT's interrupt has nothing to do but to wake us;
# anything else is a bug of ours or of the machine.
    .global exception_vector, exception_vector_end
exception_vector:
    .set noreorder
    mfc0 $k0, $13                   # Cause
    andi $k0, $k0, 0x7c
    bnez $k0, 2f
    lui $k0, 0xb800                 # ISA ports
    li $k1, 0x0c                    # interrupt controller: poll, which takes the interrupt,
    sb $k1, 0x20($k0)
    lb $k1, 0x20($k0)
    li $k1, 0x20                    # and its end
    sb $k1, 0x20($k0)
    eret
2:  mfc0 $a0, $13
    mfc0 $a1, $14                   # where
    lui $k0, %hi(exception_report)
    addiu $k0, $k0, %lo(exception_report)
    jr $k0
    nop
exception_vector_end:

    .section .bss
    .balign 16
    .skip 16384
stack_top:
    .skip 16
