/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By LD_PRELOAD: what goes to the journal's socket goes to $TEST_JOURNAL. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PUBLIC __attribute__((visibility("default")))

PUBLIC ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) =
		(ssize_t(*)(int, const struct msghdr *, int))(uintptr_t)dlsym(RTLD_NEXT, "sendmsg");
	const struct sockaddr_un *address = message->msg_name;
	struct sockaddr_un journal = {.sun_family = AF_UNIX};
	struct msghdr here = *message;

	if (address && address->sun_family == AF_UNIX &&
		strcmp(address->sun_path, "/run/systemd/journal/socket") == 0) {
		(void)snprintf(
			journal.sun_path, sizeof(journal.sun_path), "%s", getenv("TEST_JOURNAL"));
		here.msg_name = &journal;
		here.msg_namelen = sizeof(journal);
	}
	return real(fd, &here, flags);
}
