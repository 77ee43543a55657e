# SPDX-License-Identifier: LGPL-2.1-or-later
# nix-build -E '(import <nixpkgs> {}).callPackage ./packaging/msgd.nix {}'
{ lib, stdenv, meson, ninja, pkg-config, inih, jansson, libevent, libsodium, ncurses, openssl, systemd, uthash, xen
, withSim ? true }:

stdenv.mkDerivation {
  pname = "msgd";
  version = "0.1.0";
  src = lib.cleanSource ../.;

  nativeBuildInputs = [ meson ninja pkg-config ];
  buildInputs = [ inih jansson libevent libsodium ncurses openssl systemd uthash xen ];

  # Directories of systemd and udev are in their own packages there; DESTDIR puts the rest below the output.
  mesonFlags = [
    "-Dxen=enabled"
    (lib.mesonEnable "sim" withSim)
    (lib.mesonBool "tests" false)
    "-Dpython=disabled"
    "-Dgo=disabled"
    "-Drust=disabled"
    "-Dnode=disabled"
    "--sysconfdir=/etc"
  ];
  env.PKG_CONFIG_SYSTEMD_SYSTEMDSYSTEMUNITDIR = "${placeholder "out"}/lib/systemd/system";
  env.PKG_CONFIG_UDEV_UDEVDIR = "${placeholder "out"}/lib/udev";
  installPhase = ''
    DESTDIR=$PWD/root meson install --no-rebuild
    mkdir -p $out
    cp -a root$out/. $out
    for dir in etc usr/lib; do
      [ ! -d root/$dir ] || { mkdir -p $out/''${dir#usr/} && cp -a root/$dir/. $out/''${dir#usr/}; }
    done
  '';

  meta = {
    description = "Named message channels between Xen domains";
    license = with lib.licenses; [ lgpl21Plus gpl2Only ];
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
