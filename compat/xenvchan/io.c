/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading, writing and waiting. */
#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>

#include "compat/xenvchan/state.h"

static int failure(int error)
{
	errno = error;
	return -1;
}

static int event_wait(const struct vchan *vchan)
{
	eventfd_t count;

	return eventfd_read(vchan->stream.fd, &count);
}

/*
 * A client that comes and its first bytes are one event, if both are there before the program
 * looks. vchan-socket-proxy, for one, waits for the client, and then for an event before it reads.
 * So bytes that the program has not looked at are an event once more.
 */
int vchan_wait(struct vchan *vchan)
{
	int r;

	process_lock();
	vchan_persist_check(vchan);
	vchan_end_check(vchan);
	vchan_next_check(vchan);
	process_unlock();
	r = event_wait(vchan);
	process_lock();
	if (vchan->stream.unseen) {
		vchan->stream.unseen = false;
		stream_signal(&vchan->stream);
	}
	process_unlock();
	return r;
}

int vchan_fd(const struct vchan *vchan)
{
	return vchan->stream.fd;
}

int vchan_is_open(struct vchan *vchan)
{
	int open;

	process_lock();
	vchan_persist_check(vchan);
	vchan_next_check(vchan);
	open = vchan_open(vchan);
	if (!open)
		vchan->end_seen = true;
	process_unlock();
	return open;
}

static int as_int(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

int vchan_data_ready(struct vchan *vchan)
{
	int n;

	process_lock();
	vchan_persist_check(vchan);
	stream_look(&vchan->stream);
	n = as_int(vchan->stream.in.len);
	vchan_end_check(vchan);
	process_unlock();
	return n;
}

int vchan_buffer_space(struct vchan *vchan)
{
	int n;

	process_lock();
	vchan_persist_check(vchan);
	(void)stream_write(&vchan->stream, NULL, 0);
	n = as_int(bytes_room(&vchan->stream.out));
	vchan_end_check(vchan);
	process_unlock();
	return n;
}

/* After a read that found too little. 1: try again; 0: do not; -1: it has failed. */
static int read_again(struct vchan *vchan, int open)
{
	if (!open) {
		vchan->end_seen = true;
		return failure(ECONNRESET);
	}
	if (!vchan->pub.blocking)
		return 0;
	return event_wait(vchan) < 0 ? -1 : 1;
}

int vchan_read(struct vchan *vchan, void *data, size_t size)
{
	int r, open;
	size_t n;

	if (!size)
		return 0;
	do {
		process_lock();
		vchan_persist_check(vchan);
		n = stream_read(&vchan->stream, data, size > INT_MAX ? INT_MAX : size);
		open = vchan_open(vchan);
		process_unlock();
		if (n)
			return (int)n;
		r = read_again(vchan, open);
	} while (r > 0);
	return r;
}

int vchan_recv(struct vchan *vchan, void *data, size_t size)
{
	int r, open;
	size_t n;

	do {
		process_lock();
		vchan_persist_check(vchan);
		stream_look(&vchan->stream);
		n = size <= vchan->stream.in.len ? stream_read(&vchan->stream, data, size) : 0;
		open = vchan_open(vchan);
		process_unlock();
		if (n == size)
			return (int)n;
		if (open && vchan->pub.blocking && size > vchan->stream.in.limit)
			return failure(EMSGSIZE);
		r = read_again(vchan, open);
	} while (r > 0);
	return r;
}

/* As read_again. */
static int write_again(struct vchan *vchan, int open)
{
	if (!open)
		return failure(EPIPE);
	if (!vchan->pub.blocking)
		return 0;
	return event_wait(vchan) < 0 ? -1 : 1;
}

int vchan_write(struct vchan *vchan, const void *data, size_t size)
{
	size_t done = 0;
	int r, open;

	if (size > INT_MAX)
		size = INT_MAX;
	do {
		process_lock();
		vchan_persist_check(vchan);
		open = vchan_open(vchan);
		if (open)
			done += stream_write(
				&vchan->stream, (const char *)data + done, size - done);
		if (open)
			open = vchan_open(vchan);
		process_unlock();
		if (open && (done == size || (done && !vchan->pub.blocking)))
			return (int)done;
		r = write_again(vchan, open);
	} while (r > 0);
	return r;
}

int vchan_send(struct vchan *vchan, const void *data, size_t size)
{
	struct stream *stream = &vchan->stream;
	size_t n = 0;
	int r, open;

	do {
		process_lock();
		vchan_persist_check(vchan);
		(void)stream_write(stream, NULL, 0); /* older bytes go first, and make room */
		open = vchan_open(vchan);
		if (open && size <= bytes_room(&stream->out))
			n = stream_write(stream, data, size);
		open = vchan_open(vchan);
		process_unlock();
		if (open && n == size)
			return (int)n;
		if (open && vchan->pub.blocking && size > stream->out.limit)
			return failure(EMSGSIZE);
		r = write_again(vchan, open);
	} while (r > 0);
	return r;
}
