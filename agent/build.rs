//! How the released program is linked. With `MC_IDLE_SYMBOLS` in the environment it keeps its symbols, for profilers.

fn main() {
    println!("cargo::rerun-if-changed=agent/build.rs");
    println!("cargo::rerun-if-env-changed=MC_IDLE_SYMBOLS");
    // At a fixed address, as the services of Amazon's that are written in Go are: the 20,000 places that would have to be put
    // right at each start are half a megabyte of the program and 0.7 MB of its memory (docs/benchmarks.md). Libraries, heap
    // and stack are where chance puts them all the same.
    let released = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if released && linux {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        // Cargo forgets `strip` of the profile for a package that has settings of its own in it.
        if std::env::var_os("MC_IDLE_SYMBOLS").is_none() {
            println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
        }
    }
}
