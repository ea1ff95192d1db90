/*
 * ftnet.h - a network for the demo's two hosts and its client, on one machine, seen by nobody else.
 *
 *     client (Linux's own TCP)
 *        |
 *       br0  10.0.2.2/24          one Ethernet; a real switch: it learns where an address is
 *       / \
 *    tapa  tapb                   each host's side of the guest's adapter
 *
 * It lies in a network namespace of this process and its children: root makes one, everybody else
 * does in a user namespace.  All of it goes with the last of them.
 */
#ifndef TOOLS_FTNET_H
#define TOOLS_FTNET_H

#include "tools/tool.h"

#define FTNET_BRIDGE "br0"
#define FTNET_GUEST "10.0.2.15"  /* what the guest is to have */

/* The tap of host a (0) or b (1). */
const char *ftnet_tap(unsigned host);

/*
 * Moves this process, which has one thread, into a namespace and builds the network.  Where that
 * is forbidden: ST_HOST after a complaint with the mend.
 */
enum status ftnet_enter(void) must_check;

#endif
