# SPDX-License-Identifier: LGPL-2.1-or-later
# For a layer above meta-virtualization (xen-tools) and meta-oe (inih, jansson, libsodium, uthash). MSGD_SOURCE is the
# tree: that of this file, unless it is set.
SUMMARY = "Named message channels between Xen domains"
LICENSE = "LGPL-2.1-or-later & GPL-2.0-only"
LIC_FILES_CHKSUM = "file://COPYING;md5=4fbd65380cdd255951079008b364516c"

inherit externalsrc meson pkgconfig systemd useradd
MSGD_SOURCE ?= "${@os.path.realpath(d.getVar('THISDIR') + '/../..')}"
EXTERNALSRC = "${MSGD_SOURCE}"
EXTERNALSRC_BUILD = "${WORKDIR}/build"

DEPENDS = "inih jansson libevent libsodium ncurses openssl systemd udev uthash xen-tools"
EXTRA_OEMESON = "-Dxen=enabled -Dsim=disabled -Dtests=false -Dpython=disabled -Dgo=disabled -Drust=disabled \
    -Dnode=disabled"

PACKAGES =+ "msgctl msg-exporter libmsg libvchan-msg msg-common msg-agent xen-argo-source"

SYSTEMD_PACKAGES = "${PN} msg-agent msg-exporter"
SYSTEMD_SERVICE:${PN} = "msgd.service msgd-admin.socket msgd-attach.socket"
SYSTEMD_SERVICE:msg-agent = "msg-agent.socket"
SYSTEMD_SERVICE:msg-exporter = "msg-exporter.socket"
SYSTEMD_AUTO_ENABLE:msg-exporter = "disable"

# As units/msgd.sysusers.conf has them.
USERADD_PACKAGES = "msg-common"
USERADD_PARAM:msg-common = "-r -U -M -d / -s /sbin/nologin msgd"
GROUPADD_PARAM:msg-common = "-r msg-attach; -r msg-activated; -r xen-evtchn; -r xen-gntalloc; \
    -r xen-gntdev; -r xen-argo; -r xen-xenbus; -r xen-privcmd"

FILES:${PN} = "${sbindir}/msgd ${libexecdir}/msgd ${sysconfdir}/msgd ${systemd_system_unitdir}/msgd* ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/systemd/catalog"
FILES:msgctl = "${bindir}/msgctl ${libdir}/wireshark ${datadir}/bash-completion/completions/msgctl ${datadir}/zsh"
FILES:msg-exporter = "${bindir}/msg-exporter ${systemd_system_unitdir}/msg-exporter.* ${datadir}/msgd/grafana"
FILES:libmsg = "${libdir}/libmsg.so.*"
FILES:libvchan-msg = "${libdir}/libvchan-msg.so.*"
FILES:msg-common = "${nonarch_libdir}/modprobe.d ${nonarch_libdir}/modules-load.d ${nonarch_libdir}/sysusers.d \
    ${nonarch_base_libdir}/udev ${nonarch_libdir}/udev"
FILES:msg-agent = "${sbindir}/msg-agent ${bindir}/msgio ${libdir}/libmsg-vsock.so ${libdir}/msgd-compat \
    ${systemd_system_unitdir}/msg-* ${datadir}/bash-completion/completions/msgio"
FILES:xen-argo-source = "${prefix}/src"
CONFFILES:${PN} = "${sysconfdir}/msgd/msgd.conf"
# A name for LD_PRELOAD, not a link for compilers.
INSANE_SKIP:msg-agent = "dev-so"

RDEPENDS:${PN} = "msg-common msgctl"
RDEPENDS:msg-agent = "msg-common"
RDEPENDS:msg-exporter = "msg-common"
