/*
 * coroutine_switch.S - switching stacks.  See coroutine.h.
 *
 * What a function must keep for its caller lies on the stack [AMD64 ABI,
 * Registers]; the rest its caller has saved.
 */
#include "kernel/coroutine.h"

	.text
	.globl coroutine_switch
	.type coroutine_switch, @function
coroutine_switch:	/* void coroutine_switch(struct coroutine *from, struct coroutine *to) */
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov (%rsi), %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.size coroutine_switch, . - coroutine_switch

/* Where a new one begins: fn in R12, ctx in R13.  RBP is 0: a backtrace ends here. */
	.globl coroutine_begin
	.type coroutine_begin, @function
coroutine_begin:
	mov %r13, %rdi
	call *%r12
	ud2
	.size coroutine_begin, . - coroutine_begin

	.section .stacks, "aw", @nobits
	.balign 4096
	.globl coroutine_stacks
coroutine_stacks:
	.skip COROUTINES * (4096 + COROUTINE_STACK)
	.section .note.GNU-stack, "", @progbits
