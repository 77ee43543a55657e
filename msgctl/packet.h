/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A frame as the packet of a pcapng file: docs/CAPTURE.md has the table. A header of our own, which
 * says what the frame's own does not, then the frame as on the link, cut where the capture is.
 */
#ifndef MSGD_MSGCTL_PACKET_H
#define MSGD_MSGCTL_PACKET_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_VERSION	   1
#define PACKET_HEADER_SIZE 88U

/*
 * From a row of msgd's answer. Returns the length, or 0: it is no frame, or longer than `size`.
 * ret_whole_len: with all of its payload.
 */
size_t packet_encode(const json_t *row, uint8_t *ret_bytes, size_t size, size_t *ret_whole_len);
/*
 * The bytes of the payload that a row has, 0 if none, and no more than `size`. It is in hexadecimal
 * digits: what is none ends it.
 */
size_t packet_data(const json_t *row, uint8_t *ret_bytes, size_t size);

#endif
