/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The level checker for programs that know nothing of it: by LD_PRELOAD. */
#include <dlfcn.h>

#include "tests/support/level-checker.h"

#define PUBLIC __attribute__((visibility("default")))

#define PRELOADED(type, name, parameters, arguments)                                               \
	PUBLIC type name parameters                                                                \
	{                                                                                          \
		return __wrap_##name arguments;                                                    \
	}                                                                                          \
                                                                                                   \
	type __real_##name parameters                                                              \
	{                                                                                          \
		return ((type(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name))arguments;          \
	}

LEVEL_CHECKER_FUNCTIONS(PRELOADED)
