/*
 * cmd_ft.h - the commands behind `reprise ft`.
 */
#ifndef TOOLS_CMD_FT_H
#define TOOLS_CMD_FT_H

#include "tools/tool.h"

extern const struct command cmd_ft_status, cmd_ft_demo;

#endif
