/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hv_open: each way of getting it wrong has an errno of its own and a sentence to show. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/conformance/case.h"

static void refused(const char *spec, const char *env, int want)
{
	struct actor *a = world_actor(WORLD_A);
	bool reason = false;
	int r = actor_hv_open(a, spec, env, &reason);

	if (r != want)
		case_fail(__FILE__, __LINE__, "hv_open(\"%s\"): %d, not %d", spec, r, want);
	CHECK(want == 0 || reason);
	actor_close(a);
}

static void spec_is_nonsense(void)
{
	static const char *const bad[] = {
		"sim", "sim:", "simple", "sim:#web", "kvm", "sim;/x", "#"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], "", -EINVAL);
}

/* "" and NULL are $MSG_HV, else Xen, which is not here. */
static void spec_from_environment(void)
{
	char spec[256];

	if (access("/dev/xen/evtchn", F_OK) != 0) {
		refused("xen", "", -ENODEV);
		refused("", "", -ENODEV);
		refused("", "xen", -ENODEV);
	}
	refused("", "kvm", -EINVAL);
	if (!the_world->ops->spec)
		return;
	the_world->ops->spec(the_world, the_world->names[WORLD_A], spec, sizeof(spec));
	refused("", spec, 0);
	refused(spec, "kvm", 0); /* said explicitly: the environment is not looked at */
}

static void nobody_there(void)
{
	char spec[256];

	snprintf(spec, sizeof(spec), "sim:%s/nothing", the_world->dir);
	refused(spec, "", -ENOENT);
	snprintf(spec, sizeof(spec), "sim:%s/nothing/nowhere", the_world->dir);
	refused(spec, "", -ENOENT);
	snprintf(spec, sizeof(spec), "sim:%s/nothing#guest-a", the_world->dir);
	refused(spec, "", -ENOENT);
}

static void no_such_domain(void)
{
	char spec[256];

	the_world->ops->spec(the_world, "nobody", spec, sizeof(spec));
	refused(spec, "", -EHOSTUNREACH);
	the_world->ops->spec(the_world, "", spec, sizeof(spec));
	CHECK(strchr(spec, '#'));
}

struct impostor {
	int fd;
	const void *says;
	size_t len;
};

/* Accepts, says something to everyone, and hangs up. */
static void *impostor_main(void *arg)
{
	struct impostor *im = arg;
	int fd;

	while ((fd = accept(im->fd, NULL, NULL)) >= 0) {
		char buf[4096];

		if (recv(fd, buf, sizeof(buf), 0) >= 0 && im->len)
			(void)send(fd, im->says, im->len, MSG_NOSIGNAL);
		(void)close(fd);
	}
	return NULL;
}

/* Something else listens there: whatever it is and says, EPROTO, and in time. */
static void something_else(void)
{
	static const char garbage[4000] = "HTTP/1.1 400 Bad Request\r\n";
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
	static const size_t lens[] = {0, 1, 24, 4000};

	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
			struct sockaddr_un sun = {.sun_family = AF_UNIX};
			struct impostor im = {-1, garbage, lens[i]};
			pthread_t thread;
			char spec[256];

			snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/else%zu%zu",
				the_world->dir, t, i);
			snprintf(spec, sizeof(spec), "sim:%s", sun.sun_path);
			im.fd = socket(AF_UNIX, types[t] | SOCK_CLOEXEC, 0);
			CHECK_OK(bind(im.fd, (struct sockaddr *)&sun, sizeof(sun)));
			CHECK_OK(listen(im.fd, 5));
			CHECK_OK(pthread_create(&thread, NULL, impostor_main, &im));
			refused(spec, "", -EPROTO);
			CHECK_OK(shutdown(im.fd, SHUT_RDWR));
			CHECK_OK(pthread_join(thread, NULL));
			(void)close(im.fd);
		}
	}
}

/* A path that is a file is nobody listening. */
static void path_is_a_file(void)
{
	char path[128], spec[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/file", the_world->dir);
	f = fopen(path, "we");
	CHECK(f);
	(void)fclose(f);
	snprintf(spec, sizeof(spec), "sim:%s", path);
	refused(spec, "", -ENOENT);
}

static const struct test_case cases[] = {
	{"spec_is_nonsense", 0, spec_is_nonsense},
	{"spec_from_environment", 0, spec_from_environment},
	{"nobody_there", WORLD_OPEN, nobody_there},
	{"no_such_domain", WORLD_OPEN, no_such_domain},
	{"something_else", WORLD_OPEN, something_else},
	{"path_is_a_file", WORLD_OPEN, path_is_a_file},
};

const struct test_group open_group = {"open", cases, ARRAY_SIZE(cases)};
