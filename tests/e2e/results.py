# SPDX-License-Identifier: LGPL-2.1-or-later
"""The results of a test in Python, a line each: for the tests here."""
import sys

_failed = []


def result(good, what):
    """One of them, after which the test goes on."""
    if not good:
        _failed.append(what)
    print('%-4s %s' % ('ok' if good else 'FAIL', what), flush=True)


def failed():
    return bool(_failed)


def end():
    """Ends the program, with a status that says whether all were good."""
    sys.exit(1 if _failed else 0)


def skip(why):
    print('SKIP: ' + why)
    sys.exit(77)
