/*
 * capture.c - the frames of a replay, from the hypervisor's file into pcapng.  See capture.h.
 */
#include "kernel/kconf.h"
#include "tools/capture.h"
#include "tools/pcapng.h"
#include "tools/tool.h"

bool capture_describe(struct capture_machine *m, const void *head, size_t head_size)
{
	bool any = false;

	*m = (struct capture_machine){ .start_ns = conf_u64(head, head_size, "rtc_epoch_s", 0) * 1000000000UL };
	for (unsigned i = 0; i < CAPTURE_NICS; i++) {
		char key[16], text[32];

		snprintf(key, sizeof(key), "nic%u_mac", i);
		m->there[i] = conf_get(head, head_size, key, text, sizeof(text)) && parse_mac(text, m->mac[i]);
		any |= m->there[i];
	}
	return any;
}

err_t capture_convert(const struct capture_machine *m, struct frames_reader *r, FILE *file, struct capture_counts *n)
{
	u32 interface[CAPTURE_NICS] = { 0 }, interfaces = 0;
	struct frame_record f;
	err_t e;

	*n = (struct capture_counts){ 0 };
	pcapng_begin(file, "reprise", m->comment);
	for (unsigned i = 0; i < CAPTURE_NICS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "nic%u", i);
		interface[i] = interfaces;
		interfaces += m->there[i];
		if (m->there[i])
			pcapng_interface(file, name, m->mac[i]);
	}
	while (!(e = frames_next(r, &f))) {
		char comment[64];

		if (f.nic >= CAPTURE_NICS || !m->there[f.nic])
			return ERR_DAMAGED;
		snprintf(comment, sizeof(comment), "after %llu instructions", (unsigned long long)f.insns);
		pcapng_packet(file, interface[f.nic], m->start_ns + f.vtime_ns, f.sent, f.data, f.size, comment);
		if (f.sent)
			n->sent++;
		else
			n->received++;
	}
	return e == ERR_END ? OK : e;
}
