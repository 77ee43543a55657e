/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes one file from a file-send elsewhere, writes it to disk and answers with its SHA-256.
 *
 *	cc -o file-receive file-receive.c $(pkg-config --cflags --libs libmsg libcrypto)
 *	file-receive NAME FILE
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libmsg.h>

static char data[65536]; /* one message */

static void fail(const char *what)
{
	fprintf(stderr, "file-receive: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
	exit(1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sum_to_hex(EVP_MD_CTX *sum, char ret_hex[65])
{
	unsigned char bytes[32];

	EVP_DigestFinal_ex(sum, bytes, NULL);
	for (int i = 0; i < 32; i++)
		sprintf(ret_hex + 2 * i, "%02x", bytes[i]);
}

int main(int argc, char **argv)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	struct msg_sock *listener, *sock;
	unsigned long long total = 0;
	struct msg_ctx *ctx;
	double start;
	char hex[65];
	ssize_t n;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: file-receive NAME FILE\n");
		return 2;
	}
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	listener = msg_listen(ctx, argv[1], LIBMSG_SEQPACKET, 1, 0);
	if (!listener)
		fail(argv[1]);
	sock = msg_accept(listener, 0);
	if (!sock)
		fail("accept");

	start = seconds();
	EVP_DigestInit_ex(sum, EVP_sha256(), NULL);
	fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	while ((n = msg_recv(sock, data, sizeof(data), 0)) > 0) {
		for (ssize_t at = 0, k; at < n; at += k) {
			k = write(fd, data + at, (size_t)(n - at));
			if (k < 0) {
				perror(argv[2]);
				return 1;
			}
		}
		EVP_DigestUpdate(sum, data, (size_t)n);
		total += (unsigned long long)n;
	}
	if (n < 0) /* ECONNRESET: the sender died, and the file on disk is cut */
		fail("the file is cut");
	if (close(fd) < 0) {
		perror(argv[2]);
		return 1;
	}
	sum_to_hex(sum, hex);
	printf("received %llu bytes  sha256 %s  %.0f MB/s\n", total, hex,
		(double)total / (seconds() - start) / 1e6);
	if (msg_send(sock, hex, 64, 0) < 0)
		fail("answer");
	msg_close(sock); /* waits until the answer is on its way */
	msg_ctx_close(ctx);
	EVP_MD_CTX_free(sum);
	return 0;
}
