/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work of examples/file-send.c and file-receive.c, between two processes over a Unix
 * SOCK_SEQPACKET pair: the same reads, writes, message size and sums, so that quickstart can print
 * the two rates side by side.
 *
 *	seqpacket-file OUTPUT <FILE
 */
#include <err.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char data[65536]; /* one message */

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

static int receive(int sock, const char *path)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	char hex[65];
	ssize_t n;

	if (fd < 0)
		err(1, "%s", path);
	EVP_DigestInit_ex(sum, EVP_sha256(), NULL);
	while ((n = recv(sock, data, sizeof(data), 0)) > 0) {
		if (write(fd, data, (size_t)n) != n)
			err(1, "%s", path);
		EVP_DigestUpdate(sum, data, (size_t)n);
	}
	if (n < 0 || close(fd) < 0)
		err(1, "receive");
	sum_to_hex(sum, hex);
	return send(sock, hex, 64, 0) == 64 ? 0 : 1;
}

static int transmit(int sock)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	char hex[65], theirs[65] = "";
	unsigned long long total = 0;
	double start = seconds();
	ssize_t n;

	EVP_DigestInit_ex(sum, EVP_sha256(), NULL);
	while ((n = read(STDIN_FILENO, data, sizeof(data))) > 0) {
		if (send(sock, data, (size_t)n, MSG_NOSIGNAL) < 0)
			err(1, "send");
		EVP_DigestUpdate(sum, data, (size_t)n);
		total += (unsigned long long)n;
	}
	if (n < 0 || shutdown(sock, SHUT_WR) < 0 || recv(sock, theirs, 64, 0) != 64)
		err(1, "no answer");
	sum_to_hex(sum, hex);
	printf("sent     %llu bytes  sha256 %s  %.0f MB/s\n", total, hex,
		(double)total / (seconds() - start) / 1e6);
	return strcmp(hex, theirs) != 0;
}

int main(int argc, char **argv)
{
	int socks[2], status, r;
	pid_t pid;

	if (argc != 2)
		errx(2, "usage: seqpacket-file OUTPUT <FILE");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		err(1, "socketpair");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	(void)close(socks[pid ? 1 : 0]);
	if (pid == 0)
		return receive(socks[1], argv[1]);
	r = transmit(socks[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the receiver failed");
	return r;
}
