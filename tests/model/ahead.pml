/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels ahead (PROTOCOL.md 5.10): N numbers that the broker gives to both ends of a link, of
 * which the caller uses some, and which are asked back once, when the facts have changed by which
 * they were given. Control rings and the link's ring are queues: doorbell.pml has what lies below.
 * A message that the broker is not woken for lies in its ring until it looks.
 *
 * Holds: no connect that was begun after a change was answered succeeds by a number; the listener's
 * end gets no frame of a number that it does not have; the broker comes to hear of each channel, and
 * judges those that were made after the change. tests/model/run checks this model, and that it fails
 * once a part is taken out (the NO_* and *_FIRST switches).
 */
#ifndef N
#define N 3
#endif
#define ALL ((1 << N) - 1)
#define BIT(n) (1 << (n))

mtype = {AHEAD, END, REST, GONE, DONE, ACCEPTED}

chan to_caller = [3] of {mtype, byte};
chan to_listener = [3] of {mtype, byte};
chan from_caller = [N + 2] of {mtype, byte};
chan from_listener = [N + 2] of {mtype, byte};
chan frames = [N] of {byte};

bool bell; /* the broker is woken */

byte given; /* the caller's numbers that are not used */
byte taken; /* the listener's of which no frame has come */
byte left;  /* the broker's of which the caller has not spoken: it looks at the rings meanwhile */

bool changed, answered;	     /* the facts have changed; whoever did it was told so */
byte used, used_late;	     /* by the caller; since the change */
byte heard, denied;	     /* by the broker */
bool caller_over, listener_over;

/* ---- the caller ----------------------------------------------------------------------------- */

inline caller_takes()
{
	if
	:: to_caller?AHEAD, x -> given = x
	:: to_caller?END, x ->
		from_caller!REST, given;
		given = 0;
		bell = true
	fi
}

inline connect()
{
	begun_after = answered;
#ifndef NO_READ_FIRST
	do
	:: nempty(to_caller) -> caller_takes()
	:: empty(to_caller) -> break
	od;
#endif
	if
	:: given ->
		atomic {
			assert(!begun_after);
			x = 0;
			do
			:: given & BIT(x) -> break
			:: else -> x++
			od;
			used = used | BIT(x);
			if
			:: changed -> used_late = used_late | BIT(x)
			:: else
			fi
		}
#ifndef NO_FORGETTING
		given = given & ~BIT(x);
#endif
		frames!x;
		from_caller!DONE, x; /* it is closed, and the other end has answered, or not */
		if
#ifndef NO_CALLERS_BELL
		:: !given -> bell = true
#endif
		:: else
		fi
	:: else
	fi
}

active proctype caller()
{
	byte x, n_connects;
	bool begun_after;

	do
	:: nempty(to_caller) -> caller_takes()
	:: n_connects < N -> n_connects++; connect()
	:: n_connects == N && !given && answered && empty(to_caller) && !left -> break
	od;
	caller_over = true
}

/* ---- the listener --------------------------------------------------------------------------- */

inline ring_at_last()
{
	if
#ifndef NO_BELL_AT_LAST
	:: !taken && unheard -> unheard = false; bell = true
#endif
	:: else
	fi
}

inline listener_takes()
{
	if
	:: to_listener?AHEAD, y -> taken = y
	:: to_listener?GONE, y ->
		assert(!(y & came)); /* of a number that came it was not true */
		taken = taken & ~y;
		if
#ifndef NO_BELL_AFTER_GONE
		:: true -> ring_at_last()
#endif
		:: else
		fi
	fi
}

active proctype listener()
{
	byte y, n, came;
	bool unheard;

	do
	:: nempty(to_listener) -> listener_takes()
	:: frames?n ->
#ifndef NO_READ_ON_UNKNOWN
		do
		:: !(taken & BIT(n)) && nempty(to_listener) -> listener_takes()
		:: taken & BIT(n) || empty(to_listener) -> break
		od;
#endif
		assert(taken & BIT(n)); /* else the link ends: a violation */
		taken = taken & ~BIT(n);
		came = came | BIT(n);
		from_listener!ACCEPTED, n;
		unheard = true;
		ring_at_last()
	:: caller_over && empty(frames) && empty(to_listener) && !taken -> break
	od;
	listener_over = true
}

/* ---- the broker ----------------------------------------------------------------------------- */

/* It is a channel, and is judged by the facts of now. */
inline hears(numbers)
{
	heard = heard | (numbers);
	if
	:: changed -> denied = denied | (numbers)
	:: else
	fi
}

inline looks()
{
	do
	:: from_caller?DONE, z -> hears(BIT(z)); left = left & ~BIT(z)
	:: from_caller?REST, z ->
		to_listener!GONE, left & z;
		hears(left & ~z);
		left = 0
	:: from_listener?ACCEPTED, z -> hears(BIT(z))
	:: empty(from_caller) && empty(from_listener) -> break
	od
}

active proctype broker()
{
	byte z;

	left = ALL;
#ifdef CALLER_FIRST
	to_caller!AHEAD, ALL;
	to_listener!AHEAD, ALL;
#else
	to_listener!AHEAD, ALL;
	to_caller!AHEAD, ALL;
#endif
	do
	:: bell -> bell = false; looks()
#ifndef NO_LOOKS
	:: left && (nempty(from_caller) || nempty(from_listener)) -> looks()
#endif
	:: !changed ->
		changed = true;
#ifdef ANSWER_FIRST
		answered = true;
#endif
		if
		:: left -> to_caller!END, 0
		:: else
		fi;
		answered = true
	:: caller_over && listener_over && empty(from_caller) && empty(from_listener) && !bell -> break
	od;
	assert(!(used & ~heard));
	assert(!(used_late & ~denied))
}
