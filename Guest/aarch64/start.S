# Entry of the aarch64 guest: the processor is at EL1 with its MMU off and stays so.

    .section .text.start, "ax"
    .global start
start:
    msr daifset, #15
    adrp x1, stack_top
    add x1, x1, :lo12:stack_top
    mov sp, x1
    adrp x1, vectors
    add x1, x1, :lo12:vectors
    msr vbar_el1, x1
    bl machine_main
1:  wfi
    b 1b

# An exception is a bug of ours or of the machine: say which, and stay.
    .balign 2048
vectors:
    .rept 16
    .balign 128
    b 2f
    .endr
2:  mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    bl exception_report
    b 1b

    .section .bss
    .balign 16
    .skip 16384
stack_top:
    .skip 16
