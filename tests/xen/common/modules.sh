# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# File systems and drivers that dom0 and guests have in common; sourced by both inits.
export PATH=/lab/bin:/usr/sbin:/usr/bin:/lab HOME=/root

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/lab /run/lock /run/xen
ln -sfn /proc/self/fd /dev/fd
dmesg -n 1 # what the kernel says must not get between the lines of the console
for module in xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-argo; do
	# shellcheck disable=SC2046 # options, or none
	insmod "/lab/modules/$module.ko" $(sed -n "s/.*\blab\.${module#xen-}\.\([a-z]*=[0-9]*\).*/\1/p" /proc/cmdline)
done
mount -t xenfs xenfs /proc/xen
