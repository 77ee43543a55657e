/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sends standard input to a file-receive elsewhere, and compares the SHA-256 that comes back.
 *
 *	cc -o file-send file-send.c $(pkg-config --cflags --libs libmsg libcrypto)
 *	file-send [DOMAIN/]NAME <FILE
 */
#include <errno.h>
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
	fprintf(stderr, "file-send: %s: %s (%s)\n", what, msg_reason(), strerror(errno));
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
	char hex[65], theirs[65] = "";
	unsigned long long total = 0;
	struct msg_sock *sock;
	struct msg_ctx *ctx;
	double start;
	ssize_t n;

	if (argc != 2) {
		fprintf(stderr, "usage: file-send [DOMAIN/]NAME <FILE\n");
		return 2;
	}
	ctx = msg_ctx_open(NULL, LIBMSG_ONE_THREAD, -1);
	if (!ctx)
		fail("cannot reach msgd");
	sock = msg_connect(ctx, argv[1], LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 10000);
	if (!sock)
		fail(argv[1]);

	start = seconds();
	EVP_DigestInit_ex(sum, EVP_sha256(), NULL);
	while ((n = read(STDIN_FILENO, data, sizeof(data))) > 0) {
		if (msg_send(sock, data, (size_t)n, 0) < 0)
			fail("send");
		EVP_DigestUpdate(sum, data, (size_t)n);
		total += (unsigned long long)n;
	}
	if (n < 0) {
		perror("file-send: standard input"); /* exiting without msg_close: the receiver sees
							a reset */
		return 1;
	}
	/* The receiver reads the end, and answers with the sum of the bytes that it wrote. */
	if (msg_shutdown(sock, SHUT_WR) < 0 || msg_recv(sock, theirs, 64, 0) != 64)
		fail("no answer");
	sum_to_hex(sum, hex);
	printf("sent     %llu bytes  sha256 %s  %.0f MB/s\n", total, hex,
		(double)total / (seconds() - start) / 1e6);
	msg_close(sock);
	msg_ctx_close(ctx);
	EVP_MD_CTX_free(sum);
	if (strcmp(hex, theirs) != 0) {
		fprintf(stderr, "file-send: the receiver wrote something else: %s\n", theirs);
		return 1;
	}
	return 0;
}
