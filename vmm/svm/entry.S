/*
 * entry.S - into the guest and out again.
 *
 * Everything between the two RDTSCs is straight-line, so that the number of
 * hypervisor instructions counted with the guest's is a constant, measured at
 * boot [kernel/counter.h].  The same holds from the write that arms the timer
 * to VMRUN.  Do not add a branch here.
 *
 * Offsets of struct svm_entry (svm.c asserts them):
 */
#define E_GPR		0
#define E_VMCB		8
#define E_HOST_VMCB	16
#define E_TSC_WANT	24
#define E_ARM_TICKS	32
#define E_TIMER		40
#define E_BEFORE	48
#define E_AFTER		56

#define VMCB_TSC_OFFSET	0x50

	.text
	.globl svm_enter
	.type svm_enter, @function
svm_enter:	/* void svm_enter(struct svm_entry *e) */
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
	/*
	 * GIF holds host interrupts back until the guest runs; IF must be set
	 * there, because V_INTR_MASKING gives them the host's IF [APM2 15.21.1].
	 */
	clgi
	sti
	mov E_VMCB(%rdi), %rax
	vmload %rax
	mov %rax, %rbp
	mov E_GPR(%rdi), %r15
	mov E_TSC_WANT(%rdi), %rbx
	mov E_TIMER(%rdi), %r12
	mov E_ARM_TICKS(%rdi), %ecx
	mov %ecx, (%r12)		/* arm: the timer counts from here */
	rdtsc				/* the guest's instructions count from here */
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, E_BEFORE(%rdi)
	sub %rax, %rbx
	mov %rbx, VMCB_TSC_OFFSET(%rbp)
	/*
	 * QEMU loses the flags of a few guest instructions that exit halfway, and
	 * shows what its lazy flags (cc_dst, cc_src2) held before [docs/CAVEATS.md]:
	 * nothing of the host's, then.  The TSC_OFFSET just now is another in every run.
	 */
	xor %ebx, %ebx
	adc %ebx, %ebx
	mov %rbp, %rax
	mov 8(%r15), %rcx
	mov 16(%r15), %rdx
	mov 24(%r15), %rbx
	mov 40(%r15), %rbp
	mov 48(%r15), %rsi
	mov 56(%r15), %rdi
	mov 64(%r15), %r8
	mov 72(%r15), %r9
	mov 80(%r15), %r10
	mov 88(%r15), %r11
	mov 96(%r15), %r12
	mov 104(%r15), %r13
	mov 112(%r15), %r14
	mov 120(%r15), %r15
	vmrun %rax
	push %rdx
	rdtsc				/* ... to here */
	shl $32, %rdx
	or %rdx, %rax
	mov 8(%rsp), %rdx
	mov %rax, E_AFTER(%rdx)
	mov E_GPR(%rdx), %rax
	mov %rcx, 8(%rax)
	mov %rbx, 24(%rax)
	mov %rbp, 40(%rax)
	mov %rsi, 48(%rax)
	mov %rdi, 56(%rax)
	mov %r8, 64(%rax)
	mov %r9, 72(%rax)
	mov %r10, 80(%rax)
	mov %r11, 88(%rax)
	mov %r12, 96(%rax)
	mov %r13, 104(%rax)
	mov %r14, 112(%rax)
	mov %r15, 120(%rax)
	pop %rcx
	mov %rcx, 16(%rax)
	mov %rdx, %rdi
	mov E_VMCB(%rdi), %rax
	vmsave %rax
	mov E_HOST_VMCB(%rdi), %rax
	vmload %rax
	cli
	stgi
	pop %rdi
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.size svm_enter, . - svm_enter
	.section .note.GNU-stack, "", @progbits
