/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that is not linked with libmsg loads it as it runs, as interpreters do: the variables
 * of a thread that the library has must fit into what the loader keeps for libraries that come
 * late.
 */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

	if (!library) {
		(void)fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: dlopen LIBRARY");
		return 1;
	}
	return dlclose(library) == 0 ? 0 : 1;
}
