# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What has run behind the other cases of the boot, and is judged after them.
# boots: smp-argo
# limit: 450
# cases: driver-fuzz

. /lab/lab.sh
. /lab/fuzz.sh

case_driver_fuzz() { seen "$(fuzz_end)"; }
