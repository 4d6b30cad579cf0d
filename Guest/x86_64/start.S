# Entry of the x86 guest: from the PVH entry (32-bit, no paging) to long mode with the first
# 4 GiB mapped one to one in 2 MiB pages, the way down to user mode, and the interrupt stubs.
# There is room to map 64 GiB; machine.c does so as far as there is memory. All is mapped for
# user mode too, for the machines where the guest goes there.

    .section .note.Xen, "a", @note
    .long 4, 8, 18                  # name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad start

    .section .text.start, "ax"
    .code32
    .global start
start:
    cli
    cld
    mov %ebx, start_info_address    # the PVH start info, wherever the loader put it
    mov $stack_top, %esp

    mov $directory_pointers + 7, %eax
    mov %eax, level4
    mov $directories + 7, %eax      # 64 directories, one GiB each
    xor %ecx, %ecx
1:  mov %eax, directory_pointers(, %ecx, 8)
    add $4096, %eax
    inc %ecx
    cmp $64, %ecx
    jne 1b
    xor %ecx, %ecx                  # 4 * 512 entries of 2 MiB
    mov $0x87, %eax                 # present, writable, for users, large
2:  mov %eax, directories(, %ecx, 8)
    add $1 << 21, %eax
    inc %ecx
    cmp $4 * 512, %ecx
    jne 2b

    mov %cr4, %eax
    or $0x20, %eax                  # PAE
    mov %eax, %cr4
    mov $level4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx           # EFER: long mode
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80000001, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode

    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov start_info_address(%rip), %edi
    call machine_main
3:  hlt
    jmp 3b

# Goes on in user mode with the same stack. SYSEXIT is the one way down that KVM's emulator
# knows; segments are 32 and 40 behind the selector in the MSR.
    .global enter_user_mode
enter_user_mode:
    mov $0x174, %ecx                # IA32_SYSENTER_CS
    mov $8, %eax
    xor %edx, %edx
    wrmsr
    pop %rdx                        # where our caller goes on
    mov %rsp, %rcx
    sysexitq

# The timer: nothing to do but to have been woken.
    .global timer_interrupt
timer_interrupt:
    push %rax
    mov $0xfee000b0, %eax           # local APIC: end of interrupt
    movl $0, (%rax)
    pop %rax
    iretq

    .global spurious_interrupt
spurious_interrupt:
    iretq

# An exception is a bug of ours or of the machine: say which, and stay.
    .macro exception vector, pushes_code
    .balign 16
    .ifeq \pushes_code
    push $0
    .endif
    push $\vector
    jmp exception_common
    .endm
    .balign 16
    .global exception_stubs
exception_stubs:
    .irp v, 0, 1, 2, 3, 4, 5, 6, 7
    exception \v, 0
    .endr
    exception 8, 1
    exception 9, 0
    .irp v, 10, 11, 12, 13, 14
    exception \v, 1
    .endr
    exception 15, 0
    exception 16, 0
    exception 17, 1
    .irp v, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    exception \v, 0
    .endr
exception_common:
    pop %rdi
    pop %rsi
    pop %rdx
    mov %cr2, %rcx
    call exception_report
4:  hlt
    jmp 4b

    .section .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff        # 64-bit code
    .quad 0x00cf92000000ffff        # data
    .quad 0, 0
    .quad 0x00affa000000ffff        # 64-bit code of user mode
    .quad 0x00cff2000000ffff        # data of user mode
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .quad gdt

    .section .bss
    .balign 4096
level4:             .skip 4096
directory_pointers: .skip 4096
    .global directories
directories:        .skip 64 * 4096
    .skip 16384
stack_top:
start_info_address: .skip 8
