/*
 * test_run.c - the vCPU loop: what happens at one point happens in one order,
 * the guest runs exactly as far as it may, and sleeping costs no instruction.
 *
 * The boundary and the vCPU are scripts that write down what the loop asks of
 * them, a word each, in `story`.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world w;
static char story[4096];

static void printf_like(1, 2) tell(const char *fmt, ...)
{
	size_t n = strlen(story);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(story + n, sizeof(story) - n, fmt, ap);
	va_end(ap);
}

static void check_story(const char *want)
{
	cr_assert_str_eq(story, want, "\n  is   %s\n  want %s", story, want);
	story[0] = 0;
}

/* --- the boundary --- */

struct typed {
	u64 count, vtime_ns; /* enters here; vtime ~0: at any */
	u32 size;
};

static struct script {
	struct boundary b;
	struct typed input[8];
	unsigned ninputs, given;
	u64 idle_to;               /* where idle goes; 0: the deadline */
	u64 quit_at;               /* poll says so from this count on */
	struct vtimer *arm;        /* armed by an input, for the point it enters at */
} script;

static bool next_input(struct boundary *b unused_arg, const struct execpoint *now, const struct input_room *room,
		       struct input *in)
{
	static const u8 bytes[4096];
	struct typed *t = &script.input[script.given];

	if (script.given == script.ninputs || t->count > now->count || (t->vtime_ns != ~0UL && t->vtime_ns > now->vtime_ns) ||
	    t->size > room->console)
		return false;
	script.given++;
	tell("input%u@%lu:%lu#%lu ", t->size, now->count, now->vtime_ns, now->sequence);
	*in = (struct input){ .kind = INPUT_CONSOLE, .data = bytes, .size = t->size };
	if (script.arm)
		vtimer_arm(script.arm, now->vtime_ns);
	return true;
}

static u64 idle(struct boundary *b unused_arg, const struct execpoint *now, const struct input_room *room unused_arg,
		u64 deadline_ns)
{
	u64 to = script.idle_to ? MIN(script.idle_to, deadline_ns) : deadline_ns;

	if (deadline_ns == VTIMER_NEVER)
		tell("idle@%lu:%lu..never ", now->count, now->vtime_ns);
	else
		tell("idle@%lu:%lu..%lu ", now->count, now->vtime_ns, deadline_ns);
	return to;
}

static void output(struct boundary *b unused_arg, const struct execpoint *now, const struct output *out)
{
	tell("out'%.*s'@%lu ", (int)out->size, (const char *)out->data, now->count);
}

static err_t answer(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
		    enum input_kind kind unused_arg, u16 instance unused_arg, err_t host)
{
	return host;
}

static enum vm_outcome epoch(struct boundary *b unused_arg, const struct execpoint *now, u64 digest unused_arg)
{
	tell("epoch@%lu ", now->count);
	return VM_RUNNING;
}

static enum vm_outcome poll(struct boundary *b unused_arg, const struct execpoint *now)
{
	tell("poll@%lu ", now->count);
	return now->count >= script.quit_at ? VM_QUIT : VM_RUNNING;
}

static const struct boundary_ops script_ops = {
	.name = "script", .wants_digests = true, .next_input = next_input, .idle = idle, .output = output, .answer = answer,
	.epoch = epoch, .poll = poll,
};

/* --- the vCPU --- */

static struct exit exits[16];
static unsigned nexits, done;
static bool shadow_at_exit; /* reported, as hardware does, after each run */

static void run(struct vcpu *v, u64 budget, struct exit *out)
{
	char irq[16] = "";

	if (v->irq_vector >= 0)
		snprintf(irq, sizeof(irq), "!%02x", (unsigned)v->irq_vector);
	tell("run%lu%s%s%.*s@%lu ", budget, irq, v->cpu.interrupt_shadow ? "s" : "", v->nwatches ? 2 : 0,
	     (const char *[]){ "w0", "w1", "w2", "w3" }[v->watch_armed & 3], v->vm->now.count);
	v->exception.valid = false;
	v->cpu.interrupt_shadow = shadow_at_exit;
	if (done < nexits) {
		*out = exits[done++];
		cr_assert_leq(out->retired, budget, "the script retires more than it may");
	} else {
		*out = (struct exit){ .reason = EXIT_STOP, .retired = budget };
	}
	v->cpu.rip += out->retired;
}

static struct virt_ops scripted_vcpu;

static void returns(struct exit e)
{
	exits[nexits++] = e;
}

static struct vcpu *vcpu;
static struct vm *vm;

static void setup(void)
{
	plan_random(&plan, 1);
	plan.config = (struct vm_config){ .mem_bytes = WORLD_MEM, .ncpus = 1, .ns_per_insn = 1, .poll_insns = 1000,
					  .epoch_insns = 4000, .limit_insns = NO_STOP, .limit_vtime_ns = NO_STOP };
	world_live(&w, &plan);
	vm = w.vm;
	vcpu = &vm->vcpu[0];
	memset(&script, 0, sizeof(script));
	script.b.ops = &script_ops;
	script.quit_at = ~0UL;
	vm->boundary = &script.b;
	scripted_vcpu = fake_ops;
	scripted_vcpu.run = run;
	vm->virt = &scripted_vcpu;
	vm->host_keeps_shadow = false;
	story[0] = 0;
	nexits = done = 0;
	shadow_at_exit = false;
}

static void teardown(void)
{
	world_free(&w);
}

TestSuite(run, .init = setup, .fini = teardown);

/* The loop, up to an instruction count. */
static enum vm_outcome go(u64 limit)
{
	vm->config.limit_insns = limit;
	return vm_run(vm);
}

static void tick(void *owner unused_arg)
{
	tell("timer@%lu:%lu ", vm->now.count, vm->now.vtime_ns);
}

static struct vtimer timer, timer2;

static void add_timer(struct vtimer *t, u64 at)
{
	vtimer_add(&vm->clock, t, tick, NULL);
	vtimer_arm(t, at);
}

/* An interrupt line into the PIC, vectors from 20h. */
static void pic_on(bool aeoi)
{
	static const struct { u8 port, value; } setup_pic[] = {
		{ 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(setup_pic); i++)
		board_write(vcpu, IO_PORT, setup_pic[i].port, 1,
			    setup_pic[i].value | (aeoi && i == 3 ? 2 : 0));
}

static void raise_irq(unsigned irq)
{
	pic_set_line(&vm->board.pic, irq, false);
	pic_set_line(&vm->board.pic, irq, true);
}

/* --- the order at one point --- */

static u64 stop_here(struct vm *m, void *ctx unused_arg)
{
	tell("stop@%lu ", m->now.count);
	return NO_STOP;
}

Test(run, timers_then_inputs_then_stops_then_the_digest_then_the_guest)
{
	vm->next_epoch = vm->config.epoch_insns = 1000;
	add_timer(&timer, 1000);
	script.input[0] = (struct typed){ 1000, ~0UL, 3 };
	script.ninputs = 1;
	vm_add_stop(vm, 1000, stop_here, NULL);
	go(1500);
	check_story("run1000@0 timer@1000:1000 input3@1000:1000#0 poll@1000 stop@1000 epoch@1000 run500@1000 ");
}

Test(run, inputs_of_one_point_are_numbered)
{
	for (unsigned i = 0; i < 3; i++)
		script.input[i] = (struct typed){ 900, ~0UL, i + 1 };
	script.input[3] = (struct typed){ 1700, ~0UL, 9 };
	script.ninputs = 4;
	go(2001);
	check_story("run1000@0 input1@1000:1000#0 input2@1000:1000#1 input3@1000:1000#2 poll@1000 run1000@1000 "
		    "input9@2000:2000#3 poll@2000 run1@2000 ");
	cr_assert(vm->stats.inputs == 4 && vm->stats.input_bytes == 15);
}

/* What an input sets off at once happens before the guest runs on. */
Test(run, a_timer_that_an_input_arms_for_now_fires_now)
{
	vtimer_add(&vm->clock, &timer, tick, NULL);
	script.arm = &timer;
	script.input[0] = (struct typed){ 1000, ~0UL, 1 };
	script.ninputs = 1;
	go(1100);
	check_story("run1000@0 input1@1000:1000#0 poll@1000 timer@1000:1000 run100@1000 ");
}

Test(run, an_input_waits_for_room)
{
	script.input[0] = (struct typed){ 0, ~0UL, UART_QUEUE };
	script.input[1] = (struct typed){ 0, ~0UL, 1 };
	script.ninputs = 2;
	go(2500);
	check_story("run1000@0 input4096@1000:1000#0 poll@1000 run1000@1000 poll@2000 run500@2000 ");
}

/* --- the debugger's places --- */

static void hit(struct vcpu *v, unsigned slots, void *ctx unused_arg)
{
	tell("hit%u@%lu ", slots, v->vm->now.count);
}

/* Slot 0 stops before 0x5000, slot 1 behind a store to 0x80000. */
static void watch(void)
{
	vcpu->watch[0] = (struct watch_slot){ SLOT_EXEC, 0x5000, 1 };
	vcpu->watch[1] = (struct watch_slot){ SLOT_WRITE, 0x80000, 4 };
	vcpu->nwatches = 2;
	vm->watch_hit = hit;
}

/* Else it would stop there for ever. */
Test(run, a_breakpoint_seen_lets_its_instruction_pass)
{
	watch();
	returns((struct exit){ .reason = EXIT_WATCH, .retired = 100, .watch.slots = 1 });
	returns((struct exit){ .reason = EXIT_WATCH, .retired = 1, .watch.slots = 2 });
	go(500);
	check_story("run500w3@0 hit1@100 run1w2@100 hit2@101 run399w3@101 ");
}

Test(run, a_breakpoint_seen_hides_no_other_behind_a_fault)
{
	watch();
	vcpu->watch[1] = (struct watch_slot){ SLOT_EXEC, 0x6000, 1 };
	returns((struct exit){ .reason = EXIT_WATCH, .retired = 100, .watch.slots = 1 });
	returns((struct exit){ .reason = EXIT_WATCH, .watch.slots = 2 }); /* the handler's first instruction */
	go(200);
	check_story("run200w3@0 hit1@100 run1w2@100 hit2@100 run1w1@100 run99w3@101 ");
}

/* The guest has its own values for that one instruction. */
Test(run, none_is_armed_while_the_guest_uses_the_debug_registers)
{
	watch();
	returns((struct exit){ .reason = EXIT_DEBUG_REG, .retired = 10 });
	go(100);
	check_story("run100w3@0 run1w0@10 run89w3@11 ");
}

Test(run, a_blind_entry_is_remembered)
{
	watch();
	returns((struct exit){ .reason = EXIT_STOP, .retired = 10, .blind = true });
	go(100);
	check_story("run100w3@0 run90w3@10 ");
	cr_assert(vm->watch_blind);
}

/* --- how far the guest runs --- */

Test(run, the_guest_stops_at_whatever_comes_first)
{
	static const struct { u64 poll, epoch, limit, limit_ns, timer, stop, ns, budget; } cases[] = {
		{ 1000, 4000, NO_STOP, NO_STOP, VTIMER_NEVER, NO_STOP, 1, 1000 },
		{ 5000, 4000, NO_STOP, NO_STOP, VTIMER_NEVER, NO_STOP, 1, 4000 },
		{ 5000, 6000, 7, NO_STOP, VTIMER_NEVER, NO_STOP, 1, 7 },
		{ 5000, 6000, NO_STOP, 11, VTIMER_NEVER, NO_STOP, 1, 11 },
		{ 5000, 6000, NO_STOP, NO_STOP, 1, NO_STOP, 1, 1 },
		{ 5000, 6000, NO_STOP, NO_STOP, 100, 99, 1, 99 },
		{ 5000, 6000, NO_STOP, NO_STOP, 100, NO_STOP, 3, 34 },  /* the first instruction not before it */
		{ 5000, 6000, NO_STOP, NO_STOP, 102, NO_STOP, 3, 34 },
		{ 5000, 6000, NO_STOP, NO_STOP, 103, NO_STOP, 3, 35 },
		{ 5000, 6000, NO_STOP, 10, VTIMER_NEVER, NO_STOP, 7, 2 },
		{ 5000, 6000, NO_STOP, NO_STOP, VTIMER_NEVER - 1, NO_STOP, 1000, 5000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char want[64];

		if (i)
			setup();
		vm->next_poll = vm->config.poll_insns = cases[i].poll;
		vm->next_epoch = vm->config.epoch_insns = cases[i].epoch;
		vm->config.limit_insns = cases[i].limit;
		vm->config.limit_vtime_ns = cases[i].limit_ns;
		vm->config.ns_per_insn = cases[i].ns;
		add_timer(&timer, cases[i].timer);
		if (cases[i].stop != NO_STOP)
			vm_add_stop(vm, cases[i].stop, stop_here, NULL);
		returns((struct exit){ .reason = EXIT_UNKNOWN });
		vm_run(vm);
		snprintf(want, sizeof(want), "run%lu@0 ", cases[i].budget);
		cr_assert_str_eq(story, want, "case %zu: %s, not %s", i, story, want);
		if (i + 1 < ARRAY_SIZE(cases))
			teardown();
	}
}

Test(run, time_is_a_function_of_the_count)
{
	vm->config.ns_per_insn = 7;
	add_timer(&timer, 100);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 5 }); /* an early stop changes nothing */
	go(20);
	check_story("run15@0 run10@5 timer@15:105 run5@15 ");
	cr_assert_eq(vm->now.vtime_ns, 140);
	cr_assert_eq(vm->stats.guest_insns, 20);
}

Test(run, equal_timers_fire_in_the_order_they_were_added_and_may_fire_again)
{
	add_timer(&timer2, 50);
	add_timer(&timer, 50);
	timer2.owner = &timer2;
	go(60);
	check_story("run50@0 timer@50:50 timer@50:50 run10@50 ");
}

static u64 every_seven(struct vm *m, void *ctx)
{
	++*(unsigned *)ctx;
	return m->now.count + 7;
}

Test(run, a_stop_says_where_the_next_one_is)
{
	unsigned hits = 0;

	vm_add_stop(vm, 7, every_seven, &hits);
	go(70);
	cr_assert_eq(hits, 10); /* the last at the limit itself */
	cr_assert_eq(vm->now.count, 70);
}

/* --- limits and ends --- */

Test(run, an_instruction_limit_is_exact)
{
	cr_assert_eq(go(1234), VM_LIMIT);
	cr_assert_eq(vm->now.count, 1234);
	cr_assert_not_null(strstr(vm->stop_reason, "1234"));
}

Test(run, a_limit_in_virtual_time_holds_asleep_too)
{
	vm->config.limit_vtime_ns = 5000;
	add_timer(&timer, 9000);
	vcpu->cpu.halted = 1;
	vcpu->cpu.rflags |= RFLAGS_IF;
	cr_assert_eq(vm_run(vm), VM_LIMIT);
	check_story("idle@0:0..5000 ");
	cr_assert_eq(vm->now.vtime_ns, 5000);
	cr_assert_eq(vm->now.count, 0);
}

Test(run, the_operator_leaves_at_a_poll_point)
{
	script.quit_at = 2000;
	cr_assert_eq(vm_run(vm), VM_QUIT);
	check_story("run1000@0 poll@1000 run1000@1000 poll@2000 ");
}

/* At an exit that happens to come, and by one made for it. */
Test(run, a_boundary_may_wish_to_be_asked_sooner)
{
	script.b.ask_at_exits = true;
	returns((struct exit){ .reason = EXIT_STOP, .retired = 20 });
	returns((struct exit){ .reason = EXIT_STOP });
	returns((struct exit){ .reason = EXIT_STOP, .retired = 29 });
	go(100);
	check_story("poll@0 run100@0 poll@20 run80@20 poll@20 run80@20 poll@49 run51@49 poll@100 ");
	script.b.ask_at_exits = false;
	script.b.ask_within_insns = 400;
	vm->outcome = VM_RUNNING;
	go(1500);
	check_story("run400@100 poll@500 run400@500 poll@900 run100@900 poll@1000 run400@1000 poll@1400 run100@1400 ");
}

Test(run, the_first_reason_to_end_is_kept)
{
	vm_stop(vm, VM_UNHANDLED, "first %d", 1);
	vm_stop(vm, VM_POWERED_OFF, "second");
	cr_assert_eq(vm_run(vm), VM_UNHANDLED);
	cr_assert_str_eq(vm->stop_reason, "first 1");
}

Test(run, what_ends_in_an_exit_ends_before_the_next_point)
{
	returns((struct exit){ .reason = EXIT_PORT, .retired = 10, .insn_bytes = 1, .port = { .port = 0xf4, .size_bytes = 1 } });
	vcpu->cpu.gpr[RAX] = 77;
	cr_assert_eq(vm_run(vm), VM_DEBUG_EXIT);
	cr_assert_eq(vm->guest_exit, 77);
	cr_assert_eq(vm->now.count, 11); /* the OUT retired, too */
	check_story("run1000@0 ");
}

Test(run, an_output_happens_at_its_instruction)
{
	returns((struct exit){ .reason = EXIT_PORT, .retired = 10, .insn_bytes = 1, .port = { .port = 0x3f8, .size_bytes = 1 } });
	vcpu->cpu.gpr[RAX] = 'x';
	go(20);
	check_story("run20@0 out'x'@10 run9@11 ");
}

/* --- sleeping --- */

static void sleeps_at(u64 retired)
{
	returns((struct exit){ .reason = EXIT_HLT, .retired = retired, .insn_bytes = 1 });
}

static void fire_irq3(void *owner unused_arg)
{
	tell("timer@%lu:%lu ", vm->now.count, vm->now.vtime_ns);
	raise_irq(3);
}

Test(run, asleep_time_jumps_to_the_timer_and_its_interrupt_wakes)
{
	pic_on(false);
	vcpu->cpu.rflags |= RFLAGS_IF;
	vtimer_add(&vm->clock, &timer, fire_irq3, NULL);
	vtimer_arm(&timer, 123456);
	sleeps_at(10);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 5, .irq_taken = true });
	go(100);
	check_story("run100@0 idle@11:11..123456 timer@11:123456 run89!23@11 run84@16 ");
	cr_assert_eq(vm->now.count, 100);
	cr_assert_eq(vm->now.vtime_ns, 123456 + 89);
	cr_assert_eq(vm->idle_ns, 123456 - 11);
	cr_assert_eq(vm->board.pic.chip[0].isr, 1 << 3, "the PIC was not told that its interrupt was taken");
}

Test(run, a_timer_that_wakes_nobody_leaves_it_asleep)
{
	vcpu->cpu.rflags |= RFLAGS_IF;
	add_timer(&timer, 1000);
	add_timer(&timer2, 3000);
	sleeps_at(10);
	cr_assert_eq(vm_run(vm), VM_STUCK);
	check_story("run1000@0 idle@11:11..1000 timer@11:1000 idle@11:1000..3000 timer@11:3000 idle@11:3000..never poll@11 ");
}

/* An input that comes before the timer: it enters at the instant idle returns, after timers due then. */
Test(run, an_input_wakes_at_the_instant_it_comes)
{
	pic_on(false);
	vcpu->cpu.rflags |= RFLAGS_IF;
	board_write(vcpu, IO_PORT, 0x3f9, 1, 1); /* the UART: received data */
	script.idle_to = 50000000; /* beyond its one character time */
	script.input[0] = (struct typed){ 11, 50000000, 1 };
	script.ninputs = 1;
	add_timer(&timer, 60000000);
	sleeps_at(10);
	returns((struct exit){ .reason = EXIT_UNKNOWN });
	vm_run(vm);
	check_story("run1000@0 idle@11:11..60000000 input1@11:50000000#0 run989!24@11 ");
}

Test(run, asleep_timers_of_an_instant_come_before_its_inputs)
{
	vcpu->cpu.rflags |= RFLAGS_IF;
	add_timer(&timer, 5000);
	script.input[0] = (struct typed){ 11, 5000, 1 };
	script.ninputs = 1;
	sleeps_at(10);
	vm_run(vm);
	check_story("run1000@0 idle@11:11..5000 timer@11:5000 input1@11:5000#0 idle@11:5000..never poll@11 ");
}

Test(run, asleep_with_interrupts_off_is_stuck)
{
	add_timer(&timer, 5000);
	sleeps_at(10);
	cr_assert_eq(vm_run(vm), VM_STUCK);
	check_story("run1000@0 ");
	cr_assert_not_null(strstr(vm->stop_reason, "interrupts disabled"));
}

Test(run, asleep_with_an_interrupt_pending_it_wakes_at_once)
{
	pic_on(false);
	raise_irq(5);
	vcpu->cpu.rflags |= RFLAGS_IF;
	vcpu->cpu.interrupt_shadow = 1; /* STI; HLT */
	sleeps_at(0);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 49, .irq_taken = true });
	go(50);
	check_story("run1s@0 run49!25@1 ");
	cr_assert(!vcpu->cpu.halted);
}

/* --- interrupts --- */

Test(run, the_pic_comes_before_the_lapic)
{
	pic_on(false);
	board_write(vcpu, IO_MEMORY, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	lapic_deliver(&vcpu->lapic, &(struct apic_message){ .vector = 0x55 });
	go(10);
	check_story("run10!55@0 ");
	raise_irq(1);
	vm->outcome = VM_RUNNING;
	go(11);
	check_story("run1!21@10 ");
}

Test(run, an_accepted_lapic_vector_is_in_service)
{
	board_write(vcpu, IO_MEMORY, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	lapic_deliver(&vcpu->lapic, &(struct apic_message){ .vector = 0x55 });
	returns((struct exit){ .reason = EXIT_STOP, .retired = 2, .irq_taken = true });
	go(10);
	check_story("run10!55@0 run8@2 ");
	cr_assert_eq(vcpu->lapic.isr[2], 1 << (0x55 - 64));
}

/*
 * Two that could enter one after the other without an exit between: the vCPU
 * steps until the first is in, so that the second is offered there and not at
 * the next stop, wherever that is.
 */
Test(run, a_second_interrupt_is_offered_right_behind_the_first)
{
	pic_on(true); /* automatic EOI */
	raise_irq(3);
	raise_irq(5);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 1 });
	returns((struct exit){ .reason = EXIT_STOP, .retired = 1, .irq_taken = true });
	go(100);
	check_story("run1!23@0 run1!23@1 run98!25@2 ");
}

Test(run, a_lapic_interrupt_is_offered_right_behind_one_of_the_pic)
{
	pic_on(false);
	board_write(vcpu, IO_MEMORY, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	lapic_deliver(&vcpu->lapic, &(struct apic_message){ .vector = 0x55 });
	raise_irq(3);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 1, .irq_taken = true });
	go(100);
	check_story("run1!23@0 run99!55@1 ");
}

/* In between a fault of the second-level tables must not let it in before the first one's handler begins. */
Test(run, a_second_interrupt_waits_for_the_first_instruction_of_the_handler)
{
	pic_on(true);
	raise_irq(3);
	raise_irq(5);
	returns((struct exit){ .reason = EXIT_STOP, .irq_taken = true });
	returns((struct exit){ .reason = EXIT_STOP, .retired = 1 });
	go(100);
	check_story("run1!23@0 run1s@0 run99!25@1 ");
}

/* --- the interrupt shadow --- */

Test(run, in_the_shadow_nothing_is_offered_for_one_instruction)
{
	pic_on(false);
	raise_irq(3);
	vcpu->cpu.interrupt_shadow = 1;
	go(100);
	check_story("run1s@0 run99!23@1 ");
}

Test(run, a_host_that_keeps_the_shadow_is_trusted_with_it)
{
	vm->host_keeps_shadow = true;
	pic_on(false);
	raise_irq(3);
	vcpu->cpu.interrupt_shadow = 1;
	go(100);
	check_story("run100!23s@0 ");
}

Test(run, a_shadow_with_nothing_pending_costs_nothing)
{
	vcpu->cpu.interrupt_shadow = 1;
	go(100);
	check_story("run100s@0 ");
}

/* An exit before the shadowed instruction, after which hardware reports no shadow any more. */
Test(run, an_exit_that_retires_nothing_does_not_end_the_shadow)
{
	pic_on(false);
	raise_irq(3);
	vcpu->cpu.interrupt_shadow = 1;
	returns((struct exit){ .reason = EXIT_STOP });
	returns((struct exit){ .reason = EXIT_STOP });
	go(100);
	check_story("run1s@0 run1s@0 run1s@0 run99!23@1 ");
}

/* Delivering an exception ends it. */
Test(run, an_exception_ends_the_shadow)
{
	pic_on(false);
	raise_irq(3);
	vcpu->cpu.interrupt_shadow = 1;
	vcpu_raise(vcpu, VEC_UD, false, 0);
	returns((struct exit){ .reason = EXIT_STOP });
	go(100);
	check_story("run100!23s@0 run100!23@0 ");
}

Test(run, an_instruction_done_for_the_guest_ends_the_shadow)
{
	shadow_at_exit = true;
	pic_on(false);
	returns((struct exit){ .reason = EXIT_PORT, .retired = 4, .insn_bytes = 1, .port = { .port = 0x80, .size_bytes = 1 } });
	returns((struct exit){ .reason = EXIT_UNKNOWN });
	raise_irq(3);
	vm_run(vm);
	check_story("run1000!23@0 run995!23@5 ");
}

/* What is left of a delivered exception is in no digest. */
Test(run, a_delivered_exception_leaves_nothing)
{
	static const struct pending_exception none;

	vcpu_raise(vcpu, VEC_GP, true, 0x123);
	returns((struct exit){ .reason = EXIT_STOP, .retired = 1 });
	go(1);
	cr_assert(!memcmp(&vcpu->exception, &none, sizeof(none)));
}

/* --- a page with both rights --- */

Test(run, with_both_rights_on_a_page_one_instruction_runs_and_nothing_enters)
{
	pic_on(false);
	raise_irq(3);
	vm->paging.stepping[0] = GPA(0x5000);
	vm->paging.nstepping = 1;
	go(100);
	check_story("run1@0 run99!23@1 ");
	cr_assert_eq(vm->paging.nstepping, 0);
}

/* --- what cannot be saved --- */

static unsigned ncleared;

static void clear(struct vcpu *x unused_arg)
{
	cr_assert(vm->now.count % 1000 == 0 || vcpu->cpu.halted, "at poll points and idle only");
	ncleared++;
}

static u64 look_again(struct vm *x, void *ctx unused_arg)
{
	return x->now.count + 77;
}

/* Stops from above are not the run's own: nothing is cleared there. */
Test(run, x87_pointers)
{
	scripted_vcpu.clear_x87_pointers = clear;
	vm_add_stop(vm, 5, look_again, NULL);
	cr_assert_eq(go(3500), VM_LIMIT);
	cr_assert_eq(ncleared, 0, "a recording from before knows nothing of it");
	vm->outcome = VM_RUNNING;
	vm->config.x87_cleared = true;
	cr_assert_eq(go(7500), VM_LIMIT);
	cr_assert_eq(ncleared, 4);
}

/* --- what never ends --- */

static void run_nothing(struct vcpu *x unused_arg, u64 budget unused_arg, struct exit *out)
{
	*out = (struct exit){ .reason = EXIT_STOP };
}

Test(run, a_guest_that_gets_no_instruction_done_is_ended, .timeout = 20)
{
	scripted_vcpu.run = run_nothing;
	cr_assert_eq(vm_run(vm), VM_UNHANDLED);
	cr_assert_not_null(strstr(vm->stop_reason, "no instruction completes"));
	cr_assert_eq(vm->now.count, 0);
}

/* Exits that retire nothing, with an instruction in between: not that. */
static void run_slowly(struct vcpu *x unused_arg, u64 budget unused_arg, struct exit *out)
{
	static unsigned entries;
	*out = (struct exit){ .reason = EXIT_STOP, .retired = ++entries % 100 == 0 };
}

Test(run, a_slow_guest_goes_on)
{
	scripted_vcpu.run = run_slowly;
	cr_assert_eq(go(100), VM_LIMIT);
	cr_assert_eq(vm->now.count, 100);
}
