/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sleep/wake protocol of proto/doorbell.h, both directions at once: a sender fills a ring of
 * CAPACITY messages and sleeps with want_space when it is full; a receiver empties it and sleeps
 * with `sleeping` when it is empty. A lost wake-up is a state in which somebody waits and nobody can
 * move: spin's "invalid end state". tests/model/run checks this model, and that it fails once any
 * part of the protocol is taken out (the NO_* switches).
 *
 * Memory: each process has a store buffer with a place per location, which reaches memory at any
 * time and in any order (weaker than x86, and for stores as weak as arm64); it reads its own stores
 * at once. -DSC stores straight to memory. A fence waits for the own buffer to be empty; exchange works on
 * memory and orders nothing else; events order nothing. Loads are not delayed: what the two fences
 * order is a store before a load. Data is not modelled: release and acquire see to that.
 *
 * Event channels: events coalesce; a port that raised is masked until unmask, and remembers one
 * more event meanwhile. Spurious events come at any time, SPURIOUS in all.
 *
 * Not modelled: that libmsg tells of room only from a half of the ring on, and timers, which
 * would hide what is looked for here.
 */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef CAPACITY
#define CAPACITY 1
#endif
#ifndef SPURIOUS
#define SPURIOUS 2
#endif

/* processes */
#define SENDER   0
#define RECEIVER 1

/* locations */
#define PRODUCED 0
#define CONSUMED 1
#define SLEEPING 2
#define WANT     3

byte mem[4];
byte buffer[8]; /* by process and location */
bool buffered[8];

/* event ports, by the process that owns them */
bool pending[2];
bool masked[2];
bool ready[2]; /* the port's descriptor is readable */

/* how often a flag was set, and how often an event was sent for it */
byte n_armed[4];
byte n_rung[4];

#define SLOT(process, location) ((process) * 4 + (location))

inline store(process, location, value)
{
#ifdef SC
	mem[location] = value
#else
	d_step {
		buffer[SLOT(process, location)] = value;
		buffered[SLOT(process, location)] = true
	}
#endif
}

inline load(process, location, ret)
{
	d_step {
		if
		:: buffered[SLOT(process, location)] -> ret = buffer[SLOT(process, location)]
		:: else -> ret = mem[location]
		fi
	}
}

inline fence(process)
{
	!buffered[SLOT(process, 0)] && !buffered[SLOT(process, 1)] &&
		!buffered[SLOT(process, 2)] && !buffered[SLOT(process, 3)]
}

/* Sets a flag to 0 and says what it was: one step of memory. */
inline exchange_zero(process, location, ret)
{
	d_step {
		if
		:: buffered[SLOT(process, location)] ->
			mem[location] = buffer[SLOT(process, location)];
			buffered[SLOT(process, location)] = false
		:: else
		fi;
		ret = mem[location];
		mem[location] = 0
	}
}

/* Raises a port that is not masked; a masked one remembers. */
inline port_raise(port)
{
	if
	:: pending[port] && !masked[port] ->
		pending[port] = false;
		masked[port] = true;
		ready[port] = true
	:: else
	fi
}

inline event_send(port)
{
	d_step {
		pending[port] = true;
		port_raise(port)
	}
}

/* Sleeps until an event comes, takes it, lets the port raise again. */
inline event_wait(port)
{
	ready[port] -> ready[port] = false;
#ifndef NO_UNMASK
	d_step {
		masked[port] = false;
		port_raise(port)
	}
#endif
}

/* doorbell_arm */
inline arm(process, location, with_fence)
{
	atomic {
		n_armed[location]++;
		store(process, location, 1)
	}
	if
	:: with_fence -> fence(process)
	:: else
	fi
}

/* how doorbell_take clears the flag; others: not at all */
#define BY_EXCHANGE 0
#define BY_STORE    1

/* doorbell_take, and the event */
inline take(process, location, with_fence, clear)
{
	if
	:: with_fence -> fence(process)
	:: else
	fi;
	load(process, location, flag);
	if
	:: flag && clear == BY_EXCHANGE -> exchange_zero(process, location, flag)
	:: flag && clear == BY_STORE -> store(process, location, 0)
	:: else
	fi;
	if
	:: flag ->
		n_rung[location]++;
		assert(n_rung[location] <= n_armed[location]); /* one event a sleep */
		event_send(1 - process)
	:: else
	fi;
	flag = 0
}

/* tests/model/run takes these out. S: `sleeping`; W: want_space. */
#ifdef NO_ARM_FENCE_S
#define ARM_FENCE_S false
#else
#define ARM_FENCE_S true
#endif
#ifdef NO_ARM_FENCE_W
#define ARM_FENCE_W false
#else
#define ARM_FENCE_W true
#endif
#ifdef NO_TAKE_FENCE_S
#define TAKE_FENCE_S false
#else
#define TAKE_FENCE_S true
#endif
#ifdef NO_TAKE_FENCE_W
#define TAKE_FENCE_W false
#else
#define TAKE_FENCE_W true
#endif
#ifdef NO_EXCHANGE_S
#define CLEAR_S BY_STORE
#elif defined(NO_CLEAR_S)
#define CLEAR_S 2
#else
#define CLEAR_S BY_EXCHANGE
#endif
#ifdef NO_EXCHANGE_W
#define CLEAR_W BY_STORE
#elif defined(NO_CLEAR_W)
#define CLEAR_W 2
#else
#define CLEAR_W BY_EXCHANGE
#endif

active proctype receiver()
{
	byte own, seen, flag;

	do
	:: own == MESSAGES -> break
	:: else ->
		load(RECEIVER, PRODUCED, seen);
		assert(seen - own <= CAPACITY);
		if
		:: seen > own ->
			own++;
			store(RECEIVER, CONSUMED, own);
			take(RECEIVER, WANT, TAKE_FENCE_W, CLEAR_W)
		:: else ->
			arm(RECEIVER, SLEEPING, ARM_FENCE_S);
#ifndef NO_RECHECK_S
			load(RECEIVER, PRODUCED, seen);
#endif
			if
			:: seen > own -> store(RECEIVER, SLEEPING, 0)
			:: else -> event_wait(RECEIVER)
			fi
		fi
	od
}

active proctype sender()
{
	byte own, seen, flag;

	do
	:: own == MESSAGES -> break
	:: else ->
		load(SENDER, CONSUMED, seen);
		assert(seen <= own);
		if
		:: own - seen < CAPACITY ->
			own++;
			store(SENDER, PRODUCED, own);
			take(SENDER, SLEEPING, TAKE_FENCE_S, CLEAR_S)
		:: else ->
			arm(SENDER, WANT, ARM_FENCE_W);
#ifndef NO_RECHECK_W
			load(SENDER, CONSUMED, seen);
#endif
			if
			:: own - seen < CAPACITY -> store(SENDER, WANT, 0)
			:: else -> event_wait(SENDER)
			fi
		fi
	od
}

#define DRAIN(slot, location)                                                                      \
	buffered[slot] -> d_step                                                                   \
	{                                                                                          \
		mem[location] = buffer[slot];                                                      \
		buffered[slot] = false                                                             \
	}

/* Stores reach memory. Idle is where it may end. */
active proctype store_buffers()
{
end:
	do
	:: DRAIN(0, 0)
	:: DRAIN(1, 1)
	:: DRAIN(2, 2)
	:: DRAIN(3, 3)
	:: DRAIN(4, 0)
	:: DRAIN(5, 1)
	:: DRAIN(6, 2)
	:: DRAIN(7, 3)
	od
}

active proctype spurious()
{
	byte n;

	do
	:: n < SPURIOUS -> n++; event_send(SENDER)
	:: n < SPURIOUS -> n++; event_send(RECEIVER)
	:: break
	od
}
