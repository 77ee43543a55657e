/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulator's locks and journals (hv/sim/memory/lock.h, hv/sim/memory/journal.h) while owners die at any step:
 * ACTORS processes make a transaction each in one domain, or in all, and up to DEATHS of them are
 * killed somewhere, recovering included. A process that begins a transaction must find everything
 * whole that it may look at, nothing may change under it, and all that live must get to their end.
 * tests/model/run checks this model, and that it fails once any part is taken out.
 *
 * A transaction changes two cells of a domain that must be equal, through the journal of the
 * domain's lock, and after the commit a third, which is published.
 *
 * Steps are as in the code: a record that counts, the store; the stores of a killed process are seen
 * in its order (journal.h), and what passes between processes passes by the locks, so memory is
 * sequentially consistent here. That an owner is dead is known at once. Sleeping and waking are not
 * modelled: a sleep is bounded.
 */
#ifndef ACTORS
#define ACTORS 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif

#define ALL	0 /* the lock for all; 1 and 2 are the domains' */
#define GUARDS	3
#define RECORDS 2

byte word[GUARDS]; /* 0: free; else the owner, from 1 */
bool dead[ACTORS + 1];

/* Of each domain: the two halves, and what is published of them. */
bool half[2 * GUARDS];
bool published[GUARDS];

byte n_undo[GUARDS];
byte cell_of[GUARDS * RECORDS];
bool old_of[GUARDS * RECORDS];
bool committed[GUARDS];
bool n_redo[GUARDS];
byte redo_of[GUARDS];

#define WHOLE(d) (half[2 * (d)] == half[2 * (d) + 1] && published[d] == half[2 * (d)])

/* ---- the journal ---- */

inline change(g, cell)
{
#ifndef NO_RECORD
	d_step {
		cell_of[g * RECORDS + n_undo[g]] = cell;
		old_of[g * RECORDS + n_undo[g]] = half[cell];
		n_undo[g]++
	}
#endif
	half[cell] = !half[cell]
}

/* Records that no count covers any more are zeroed, for fewer states. */
inline clear(g)
{
	n_redo[g] = false;
	n_undo[g] = 0;
	d_step {
		committed[g] = false;
		redo_of[g] = 0;
		for (n : 0 .. RECORDS - 1) {
			cell_of[g * RECORDS + n] = 0;
			old_of[g * RECORDS + n] = false
		}
		n = 0
	}
}

inline change_both(lock, dom)
{
	change(lock, 2 * dom);
	change(lock, 2 * dom + 1)
}

inline commit(lock, dom)
{
	d_step {
		redo_of[lock] = dom;
		n_redo[lock] = true
	}
	committed[lock] = true;
	published[dom] = half[2 * dom];
	clear(lock)
}

inline recover(lock)
{
	if
	:: committed[lock] ->
		if
		:: n_redo[lock] -> published[redo_of[lock]] = half[2 * redo_of[lock]]
		:: else
		fi
	:: else ->
		n = n_undo[lock];
		do
		:: d_step {
			n > 0 -> n--;
			half[cell_of[lock * RECORDS + n]] = old_of[lock * RECORDS + n]
		   }
		:: else -> break
		od
	fi;
	clear(lock)
}

/* ---- the locks ---- */

/* Waits for a lock that is free, or whose owner is dead; takes it over then. */
inline take_over(g)
{
	if
	:: atomic { word[g] == 0 -> word[g] = self }
	:: atomic { word[g] != 0 && dead[word[g]] -> word[g] = self }; died = true
	fi
}

/* txn_begin */
inline begin_all()
{
	do
	:: died = false;
	   take_over(ALL);
#ifndef NO_DOMAIN_LOCKS
	   take_over(1);
	   take_over(2);
#endif
	   if
	   :: died ->
#ifndef NO_RECOVER_ALL
		recover(ALL);
#endif
#ifndef NO_RECOVER_DOMAIN
		recover(1);
		recover(2);
#endif
		release_all()
	   :: else -> break
	   fi
	od;
	died = false
}

inline release_all()
{
#ifdef RELEASE_ALL_FIRST
	word[ALL] = 0;
#endif
#ifndef NO_DOMAIN_LOCKS
	word[2] = 0;
	word[1] = 0;
#endif
#ifndef RELEASE_ALL_FIRST
	word[ALL] = 0
#endif
}

/* txn_begin_domain: a dead owner's lock is taken over on the way to all of them only. */
inline begin_domain(mine)
{
	do
	:: atomic { word[mine] == 0 -> word[mine] = self }; break
	:: word[mine] != 0 && dead[word[mine]] ->
#if defined(TAKE_OVER_ALONE)
		atomic {
			if
			:: word[mine] != 0 && dead[word[mine]] -> word[mine] = self
			:: else -> skip
			fi
		}
		if
		:: word[mine] == self -> recover(mine); break
		:: else
		fi
#elif defined(TAKE_OVER_FIRST)
		atomic {
			if
			:: word[mine] != 0 && dead[word[mine]] -> word[mine] = self
			:: else -> skip
			fi
		}
		if
		:: word[mine] == self -> begin_all_but(mine); recover(ALL); recover(1); recover(2);
			word[3 - mine] = 0; word[ALL] = 0; break
		:: else
		fi
#else
		begin_all();
		release_all()
#endif
	od
}

#ifdef TAKE_OVER_FIRST
inline begin_all_but(held)
{
	take_over(ALL);
	take_over(3 - held)
}
#endif

/* ---- */

proctype actor(byte self)
{
	byte d, n;
	bool died;

	{
		if
		:: d = 1
		:: self > 1 -> d = 2 /* the domains are alike */
		fi;
		if
		:: begin_domain(d);
			assert(WHOLE(d));
			change_both(d, d);
			commit(d, d);
			assert(WHOLE(d));
			word[d] = 0
		:: begin_all();
			assert(WHOLE(1) && WHOLE(2));
			change_both(ALL, d);
			commit(ALL, d);
			assert(WHOLE(1) && WHOLE(2));
			release_all()
		fi
	} unless { dead[self] }
}

init
{
	byte n, who;

	atomic {
		for (n : 1 .. ACTORS) {
			run actor(n)
		}
	}
	n = 0;
	do
	:: n < DEATHS ->
		n++;
		select(who : 1 .. ACTORS);
		dead[who] = true
	:: break
	od
}
