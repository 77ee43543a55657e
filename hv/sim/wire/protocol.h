/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of a process and xen-sim over their SOCK_SEQPACKET socket: one message a packet, a
 * fixed layout per type, a length that must be exact. Both ends are on one machine, so integers are
 * native. Only struct sim_header and struct sim_hello may never change: by them, ends of different
 * versions recognise each other.
 */
#ifndef MSGD_HV_SIM_WIRE_PROTOCOL_H
#define MSGD_HV_SIM_WIRE_PROTOCOL_H

#include <stdint.h>

#include "hv/hv.h"

#define SIM_PROTOCOL_MAGIC   0x316d6973U /* "sim1" */
#define SIM_PROTOCOL_VERSION 4U

enum sim_message_type {
	/* The first request of everybody. hello -> hello */
	SIM_HELLO = 1,
	/* Of processes: attach -> slot, with the memfd, the own and the authority's eventfd. */
	SIM_ATTACH,
	SIM_BYE,       /* - -> - */
	SIM_INTRODUCE, /* slot -> - ; both get PEER */
	SIM_KICK,      /* slot; no reply: writes its eventfd, and introduces */
	SIM_STUCK,     /* slot; no reply: it holds a lock, and does not move */
	SIM_PUBLISH,   /* record -> - */
	SIM_REMOVE,    /* record -> - */
	SIM_WATCH,     /* - -> - */
	SIM_WATCH_OWN, /* - -> - */
	SIM_NEXT,      /* - -> record; status 1 or 0 */
	/* Of tools: */
	SIM_CREATE,   /* create -> domain */
	SIM_DESTROY,  /* name -> - */
	SIM_PAUSE,    /* name -> - */
	SIM_UNPAUSE,  /* name -> - */
	SIM_SUSPEND,  /* name -> - */
	SIM_RESUME,   /* name -> - */
	SIM_RESTORE,  /* name -> - ; EBUSY: it crashed, for it held ports */
	SIM_CRASH,    /* name -> - */
	SIM_LIST,     /* index -> domain; status 0, or -ENOENT past the last */
	SIM_ADOPT,    /* name, with a pidfd -> - ; the process is of that domain */
	SIM_SHUTDOWN, /* - -> - */
	/* From xen-sim, at any time: peer, with an eventfd. */
	SIM_PEER,
	/* Since then, behind the others: a process of an older build knows their numbers. */
	SIM_READ_TAGS, /* of processes: record, its domid -> record, its value */
	SIM_TAG,       /* of tools: tags -> - */
	SIM_TYPES,
};

struct sim_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t sequence; /* a reply has its request's */
	int32_t status;	   /* of a reply: 0 or more, or a negative errno */
};

struct sim_hello {
	uint64_t layout;
	uint64_t pid_namespace;
};

struct sim_attach {
	char domain[HV_DOMAIN_NAME_MAX + 8]; /* name, domid or uuid:U; NUL-terminated */
};

struct sim_slot_name {
	uint32_t slot;
	uint32_t generation;
};

struct sim_create {
	char name[HV_DOMAIN_NAME_MAX]; /* empty: xen-sim chooses */
	uint8_t uuid[HV_UUID_LEN];     /* zero: random */
	uint8_t no_argo;
	uint8_t may_exist; /* else EEXIST */
	uint8_t ephemeral; /* ends with this connection, if it was created by it */
	uint8_t no_argo_driver;
	uint16_t domid; /* 0: the next free one */
	uint8_t pad2[2];
};

struct sim_tags {
	struct sim_attach name;
	uint8_t by_guest; /* the guest may write them, too */
	char tags[HV_TAGS_MAX];
};

struct sim_domain_info {
	struct hv_domain domain;
	uint32_t n_processes;
	uint32_t created; /* by this request */
	uint32_t no_argo;
	uint32_t no_argo_driver;
};

struct sim_message {
	struct sim_header header;
	union {
		struct sim_hello hello;
		struct sim_attach attach;
		struct sim_slot_name slot;
		struct hv_record record;
		struct sim_create create;
		struct sim_attach name;
		struct sim_tags tags;
		struct sim_domain_info domain;
		uint32_t index;
	};
};

#define SIM_MESSAGE_LEN(member)                                                                    \
	(offsetof(struct sim_message, member) + sizeof(((struct sim_message *)NULL)->member))
#define SIM_FDS_MAX 3

#endif
