/*
 * mutate.c - deliberate bugs, one an invariant.
 *
 * The linker sends calls of a rule (ft/rules.c) here first (--wrap): with the
 * mutation's number chosen the rule is broken, else it is asked.  So nothing in
 * ft/ knows of them.
 */
#include "tests/sim/sim.h"

unsigned mutation;

const struct mutant mutants[] = {
	{ "I0", "none" },
};
const unsigned nmutants = 0;
