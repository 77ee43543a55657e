// SPDX-License-Identifier: LGPL-2.1-or-later
//! Finds libmsg by pkg-config; where there is none, the linker finds it, or says that it does not.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rerun-if-changed=build.rs");
    let output = Command::new("pkg-config").args(["--libs-only-L", "libmsg"]).output();
    if let Ok(output) = output {
        for word in String::from_utf8_lossy(&output.stdout).split_whitespace() {
            if let Some(directory) = word.strip_prefix("-L") {
                println!("cargo:rustc-link-search=native={directory}");
            }
        }
    }
}
