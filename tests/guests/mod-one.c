/*
 * mod-one.c - a module of modules.c: nothing in it needs to know where it lies.
 */
#include "guest.h"

u64 mod_work(u64 x);
u64 mod_data = 5;

u64 mod_work(u64 x)
{
	return x * x * 2 + 4;
}
